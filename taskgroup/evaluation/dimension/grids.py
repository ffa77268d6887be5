"""Numbers of outputs ``M`` at which a network is measured."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Literal, get_args

from taskgroup.errors import ConfigError

Grid = Literal["doubling", "short", "seed"]
GRIDS: tuple[Grid, ...] = get_args(Grid)
_GRADIENT: dict[str, tuple[int, ...]] = {
    "seed": (1, *range(4, 400, 4), *range(400, 20201, 200)),
    "short": (1, *range(4, 117, 4)),
}
"""The published script's values, 200 of them, and those of its older sweep."""
_ATTACK: dict[str, tuple[int, ...]] = {
    "seed": (1, 2, 5, 10, 50, 100, 200, *range(500, 7001, 500)),
    "short": (1, 2, 5, 10, 50, 100, 200),
}


def gradient_outputs(grid: Grid, chosen: Sequence[int], valid: Sequence[int]) -> tuple[int, ...]:
    """Ascending numbers of outputs for gradient norms.

    A named grid ends where fewer than half of the images have so many valid pixels.

    Args:
        grid: ``doubling`` for 1, 2, 4, ...; ``seed`` and ``short`` for the published values.
        chosen: Numbers that stand in for the grid; empty for the grid.
        valid: Valid pixels of each image.

    Raises:
        ConfigError: A chosen number is below 1 or above every image's valid pixels, or an unknown
            grid.

    Example:
        >>> gradient_outputs("doubling", (), [100, 100, 10])
        (1, 2, 4, 8, 16, 32, 64, 100)
    """
    return _outputs(_GRADIENT, grid, chosen, valid)


def attack_outputs(grid: Grid, chosen: Sequence[int], valid: Sequence[int]) -> tuple[int, ...]:
    """The same for attacks, whose published values are fewer.

    Raises:
        ConfigError: As ``gradient_outputs``.
    """
    return _outputs(_ATTACK, grid, chosen, valid)


def _outputs(
    named: dict[str, tuple[int, ...]], grid: Grid, chosen: Sequence[int], valid: Sequence[int]
) -> tuple[int, ...]:
    if chosen:
        _check_chosen(chosen, max(valid))
        return tuple(sorted(set(chosen)))
    if grid not in GRIDS:
        raise ConfigError(f"grid must be one of: {', '.join(GRIDS)}; got {grid!r}")
    most = sorted(valid)[len(valid) // 2]
    if grid == "doubling":
        powers = takewhile(lambda count: count < most, (2**power for power in range(most)))
        return (*powers, most)
    return tuple(count for count in named[grid] if count <= most)


def _check_chosen(chosen: Sequence[int], most: int) -> None:
    for count in chosen:
        if not 1 <= count <= most:
            raise ConfigError(
                f"outputs must lie between 1 and the {most} valid pixels of the fullest image, "
                f"got {count}; choose fewer, or larger images"
            )
