"""What may stand in a search space instead of a value: the distributions.

Names are Ray Tune's, so that users know them; ``subset`` is ours. Each knows how to draw itself
through a :class:`Chooser`, which values bound it, and what its middle is.
"""

import json
import math
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from random import Random
from typing import Annotated, Any, ClassVar, Protocol, Self

from pydantic import Field, field_validator, model_validator

from taskgroup.config import Config, Fraction255, parse, parse_number
from taskgroup.errors import ConfigError

Scalar = str | int | float | bool | None
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


class Chooser(Protocol):
    """Draws single values by name. An Optuna trial is one."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number in ``[low, high]``, uniform, or uniform in its logarithm."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """An integer in ``[low, high]``, both ends included."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of ``choices``: text, numbers, truth values or None."""


class Distribution(Config):
    """Base of all distributions; the only key says which."""

    key: ClassVar[str]

    @abstractmethod
    def draw(self, chooser: Chooser, name: str) -> Any:
        """Draw a value under the dotted name of its key."""

    @abstractmethod
    def extremes(self) -> Sequence[Any]:
        """Values that must all be valid for every draw to be valid."""

    @abstractmethod
    def contains(self, value: object) -> bool:
        """Whether the distribution can give ``value``."""


class Uniform(Distribution):
    """A number between two bounds, all alike: {uniform: [low, high]}."""

    key: ClassVar[str] = "uniform"
    uniform: tuple[Fraction255, Fraction255]
    """Lowest and highest value."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        low, high = self.uniform
        if not (math.isfinite(low) and low < high < math.inf):
            raise ValueError(
                f"uniform must be [low, high] with low < high, got [{low:g}, {high:g}]"
            )
        return self

    def draw(self, chooser: Chooser, name: str) -> float:
        """A number between the bounds."""
        return chooser.suggest_float(name, *self.uniform)

    def extremes(self) -> Sequence[float]:
        """Both bounds."""
        return self.uniform

    def contains(self, value: object) -> bool:
        """Whether ``value`` is a number between the bounds."""
        return _is_between(value, *self.uniform)


class LogUniform(Distribution):
    """A positive number whose logarithm is uniform: {loguniform: [low, high]}."""

    key: ClassVar[str] = "loguniform"
    loguniform: tuple[Fraction255, Fraction255]
    """Lowest and highest value, both above 0."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        low, high = self.loguniform
        if not 0 < low < high < math.inf:
            raise ValueError(
                f"loguniform must be [low, high] with 0 < low < high, got [{low:g}, {high:g}]"
            )
        return self

    def draw(self, chooser: Chooser, name: str) -> float:
        """A number between the bounds."""
        return chooser.suggest_float(name, *self.loguniform, log=True)

    def extremes(self) -> Sequence[float]:
        """Both bounds."""
        return self.loguniform

    def contains(self, value: object) -> bool:
        """Whether ``value`` is a number between the bounds."""
        return _is_between(value, *self.loguniform)


class RandInt(Distribution):
    """An integer between two bounds, both ends included: {randint: [low, high]}."""

    key: ClassVar[str] = "randint"
    randint: tuple[int, int]
    """Lowest and highest value, both included."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        low, high = self.randint
        if low > high:
            raise ValueError(f"randint must be [low, high] with low <= high, got [{low}, {high}]")
        return self

    def draw(self, chooser: Chooser, name: str) -> int:
        """An integer between the bounds."""
        return chooser.suggest_int(name, *self.randint)

    def extremes(self) -> Sequence[int]:
        """Both bounds."""
        return self.randint

    def contains(self, value: object) -> bool:
        """Whether ``value`` is an integer between the bounds."""
        return isinstance(value, int) and _is_between(value, *self.randint)


class Choice(Distribution):
    """One of several values, texts or lists: {choice: [a, b, ...]}."""

    key: ClassVar[str] = "choice"
    choice: Annotated[tuple[Any, ...], Field(min_length=1)]
    """The values; fractions such as 2/255 are numbers."""

    @field_validator("choice")
    @classmethod
    def _read_numbers(cls, options: tuple[Any, ...]) -> tuple[Any, ...]:
        if any(isinstance(option, Mapping) for option in options):
            raise ValueError(
                "choice must list values, got a mapping; give the keys inside it a choice each"
            )
        values = tuple(_read_number(option) for option in options)
        if len({_label(value) for value in values}) < len(values):
            raise ValueError(f"choice must list each value once, got {list(values)}")
        return values

    def draw(self, chooser: Chooser, name: str) -> Any:
        """One of the values."""
        by_label = {_label(value): value for value in self.choice}
        return by_label[_label(chooser.suggest_categorical(name, self.labels))]

    @property
    def labels(self) -> list[Scalar]:
        """The values as a chooser sees them: lists as text, everything else as it is."""
        return [json.dumps(v) if isinstance(v, list | tuple) else v for v in self.choice]

    def extremes(self) -> Sequence[Any]:
        """Every value."""
        return self.choice

    def contains(self, value: object) -> bool:
        """Whether ``value`` is one of the values."""
        return value in self.choice


class Subset(Distribution):
    """Any of several names together: {subset: [...], min_size, max_size}."""

    key: ClassVar[str] = "subset"
    subset: tuple[str, ...]
    """The candidates, each drawn or not."""
    min_size: Annotated[int, Field(ge=0)] = 0
    """Fewest members of a drawn set."""
    max_size: Annotated[int, Field(ge=1)] | None = None
    """Most members of a drawn set; None means all."""

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if not self.subset:
            raise ValueError("subset must list at least one candidate, got []; add one")
        if len(set(self.subset)) < len(self.subset):
            raise ValueError(f"subset must list each candidate once, got {list(self.subset)}")
        if not self.min_size <= self.largest <= len(self.subset):
            raise ValueError(
                f"subset needs min_size <= max_size <= {len(self.subset)}, the number of "
                f"its candidates, got min_size {self.min_size} and max_size {self.largest}"
            )
        return self

    @property
    def largest(self) -> int:
        """Most members of a drawn set."""
        return self.max_size if self.max_size is not None else len(self.subset)

    def draw(self, chooser: Chooser, name: str) -> tuple[str, ...]:
        """One truth value per candidate, brought into the size limits by :meth:`repair`."""
        drawn = [
            candidate
            for candidate in self.subset
            if chooser.suggest_categorical(f"{name}.{candidate}", [False, True])
        ]
        return self.repair(drawn)

    def repair(self, drawn: Sequence[str]) -> tuple[str, ...]:
        """Drop or add candidates until the size is within the limits; sorted.

        Which ones is a function of the drawn set alone, so that a sampler sees the same score
        for the same truth values; over all sets it favours no candidate.
        """
        order = list(self.subset)
        Random(" ".join(sorted(drawn))).shuffle(order)
        kept = [name for name in order if name in drawn][: self.largest]
        missing = [name for name in order if name not in kept]
        return tuple(sorted(kept + missing[: max(0, self.min_size - len(kept))]))

    def extremes(self) -> Sequence[tuple[str, ...]]:
        """All candidates together."""
        return (self.subset,)

    def contains(self, value: object) -> bool:
        """Whether ``value`` holds candidates only, in a number within the limits."""
        return (
            isinstance(value, list | tuple)
            and set(value) <= set(self.subset)
            and self.min_size <= len(set(value)) <= self.largest
        )


DISTRIBUTIONS: Mapping[str, type[Distribution]] = {
    kind.key: kind for kind in (Uniform, LogUniform, RandInt, Choice, Subset)
}


def read_tree(value: object, path: str = "") -> Any:
    """Replace every mapping that spells a distribution by the distribution.

    Args:
        value: Plain data as read from YAML.
        path: Dotted key of ``value``, for messages.

    Raises:
        ConfigError: A distribution is malformed; the message begins with its key.
    """
    if not isinstance(value, Mapping):
        return value
    kinds = [key for key in value if key in DISTRIBUTIONS]
    if kinds:
        if len(kinds) > 1:
            raise ConfigError(f"{path} must be one distribution, got {' and '.join(kinds)}")
        return parse(DISTRIBUTIONS[kinds[0]], value, source=path)
    return {key: read_tree(inner, _join(path, key)) for key, inner in value.items()}


def leaves(tree: object, path: str = "") -> dict[str, Distribution]:
    """Every distribution of a tree by its dotted key."""
    if isinstance(tree, Distribution):
        return {path: tree}
    if not isinstance(tree, Mapping):
        return {}
    return {
        name: leaf
        for key, inner in tree.items()
        for name, leaf in leaves(inner, _join(path, key)).items()
    }


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _is_between(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _read_number(value: object) -> Any:
    """Fractions and YAML's stray ``1e-3`` as numbers, inside lists too."""
    if isinstance(value, list | tuple):
        return [_read_number(inner) for inner in value]
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    return parse_number(value)


def _label(value: object) -> str:
    """What tells options apart, 1 from True included."""
    return value if isinstance(value, str) and value.startswith("[") else json.dumps(value)
