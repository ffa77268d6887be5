"""Every combination of a space, once, in a fixed order."""

from collections.abc import Iterator, Sequence
from typing import Any

from taskgroup.errors import ConfigError
from taskgroup.search.plan.draw import Drawn, draw
from taskgroup.search.space.distributions import LogUniform, Uniform, leaves
from taskgroup.search.space.search_space import SearchSpace

MAX_POINTS = 10_000
"""More combinations than this are a mistake, not a grid."""


def check_grid(space: SearchSpace) -> None:
    """Check that the sampler ``grid`` can enumerate a space.

    Raises:
        ConfigError: A key has infinitely many values.
    """
    for name, leaf in leaves(space.tree).items():
        if isinstance(leaf, Uniform | LogUniform):
            raise ConfigError(
                f"the sampler grid takes choice, subset and randint, got {leaf.key} at {name}; "
                "list its values in a choice, or take the sampler tpe"
            )


def grid_points(space: SearchSpace) -> list[Drawn]:
    """Every trial of a space, each once.

    Raises:
        ConfigError: A key has infinitely many values, or there are more than 10 000 points.
    """
    check_grid(space)
    points: dict[str, Drawn] = {}
    for drawn in all_draws(space):
        points.setdefault(drawn.config.model_dump_json(), drawn)
    return list(points.values())


def is_finite(space: SearchSpace) -> bool:
    """Whether no key has infinitely many values."""
    return not any(isinstance(leaf, Uniform | LogUniform) for leaf in leaves(space.tree).values())


def all_draws(space: SearchSpace) -> Iterator[Drawn]:
    """Every way to draw a trial of a finite space; some give the same one.

    Raises:
        ConfigError: There are more than 10 000.
    """
    prefix: list[int] = []
    for _ in range(MAX_POINTS):
        odometer = _Odometer(prefix)
        yield draw(space, odometer)
        following = odometer.next_prefix()
        if following is None:
            return
        prefix = following
    raise ConfigError(
        f"the sampler grid takes at most {MAX_POINTS} combinations, and this space has more; "
        "search fewer keys, or take the sampler tpe"
    )


class _Odometer:
    """Takes the options that a list of positions names, then the first of every other one."""

    def __init__(self, prefix: Sequence[int]) -> None:
        self._prefix = prefix
        self._digits: list[tuple[int, int]] = []

    def _take(self, size: int) -> int:
        place = len(self._digits)
        digit = self._prefix[place] if place < len(self._prefix) else 0
        self._digits.append((digit, size))
        return digit

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Never reached after :func:`check_grid`."""
        raise AssertionError(name)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """The integer whose turn it is."""
        return low + self._take(high - low + 1)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """The option whose turn it is."""
        return choices[self._take(len(choices))]

    def next_prefix(self) -> list[int] | None:
        """Positions of the next combination; None after the last."""
        digits = list(self._digits)
        while digits:
            digit, size = digits.pop()
            if digit + 1 < size:
                return [*(d for d, _ in digits), digit + 1]
        return None
