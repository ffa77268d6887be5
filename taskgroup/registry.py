"""Registries: how a search space asks for a component by name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Generic, TypeVar

from taskgroup.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names one kind of component, so that a search space can ask for it by string.

    Example:
        >>> shapes = Registry[type]("shape")
        >>> @shapes.register("ball")
        ... class Ball: ...
        >>> shapes["ball"] is Ball
        True
    """

    def __init__(self, kind: str, *, also: tuple[str, ...] = ()) -> None:
        """An empty registry.

        Args:
            kind: What it names, for messages.
            also: Names that a reader may write in place of a bound one and that stand for one of
                them, such as ``auto``; a message about an unknown name lists them too.
        """
        self._kind = kind
        self._also = also
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Bind ``name`` to the decorated object; a second binding is an error."""

        def bind(entry: T) -> T:
            if name in self._entries:
                raise ConfigError(f"{self._kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return bind

    def names(self) -> tuple[str, ...]:
        """Every bound name, sorted."""
        return tuple(sorted(self._entries))

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Forget on leaving what is registered inside; for tests, and notebook cells run twice.

        Example:
            >>> shapes = Registry[type]("shape")
            >>> with shapes.scratch():
            ...     _ = shapes.register("ball")(int)
            >>> "ball" in shapes
            False
        """
        before = dict(self._entries)
        try:
            yield
        finally:
            self._entries = before

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            known = sorted((*self._entries, *self._also))
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"unknown {self._kind} {name!r}; {hint}choose one of: {', '.join(known)}"
            )
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._entries)
