"""Procedural textures: solid patterns of two colours.

Every kind of surface takes the same patterns. Each shape has a window of hues that it shares with
its neighbours, and the room may have any: a colour hints at a class, and shape has to decide.
Measured in 4 epochs of 1024 pictures at 64 px: a net that sees single pixels reaches 0.07 mIoU, a
small convolutional one 0.46.
"""

from collections.abc import Callable
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from taskgroup.data.scenes.random_stream import Draws
from taskgroup.data.scenes.shapes import SHAPE_NAMES, Floats, transform

HUE_SPREAD = 0.16
"""Half the width, in turns, of the hues that a shape may have."""
ROOM_FACES = 6
"""Room faces in order: the walls at x = 0 and x = X, floor, ceiling, walls at z = 0 and z = Z."""


@dataclass(frozen=True)
class Texture:
    """A pattern that mixes two colours.

    Attributes:
        pattern: Name in :data:`PATTERNS`.
        colours: ``(2, 3)`` RGB albedo in [0, 1].
        frame: ``(3, 3)`` map of metres to pattern coordinates.
        phase: ``(3,)`` offset of the pattern.
        gloss: Strength of the highlight; 0 is matt.
    """

    pattern: str
    colours: NDArray[np.float64]
    frame: NDArray[np.float64]
    phase: NDArray[np.float64]
    gloss: float


@dataclass(frozen=True)
class Palette:
    """Where a kind of surface takes its colours from.

    Attributes:
        hues: Lowest and highest hue, in turns; may pass 1.
        saturations: Lowest and highest saturation in [0, 1].
    """

    hues: tuple[float, float]
    saturations: tuple[float, float]


ROOM_PALETTE = Palette((0, 1), (0.05, 0.55))
"""Any hue, rather pale."""


def solid_palette(shape: int) -> Palette:
    """Colours of a shape: a window of hues, wide enough to share every hue with other shapes."""
    middle = shape / len(SHAPE_NAMES)
    return Palette((middle - HUE_SPREAD, middle + HUE_SPREAD), (0.3, 0.95))


def draw_texture(draws: Draws, palette: Palette) -> Texture:
    """A texture in the surface's own coordinates."""
    pattern = _NAMES[draws.integer(len(_NAMES))]
    first, second = _draw_colour(draws, palette), _draw_colour(draws, palette)
    contrast = draws.uniform(0.3, 0.9)
    colours = np.stack([first, first + contrast * (second - first)])
    frame = np.eye(3) * draws.uniform(*_FREQUENCIES[pattern])
    phase = np.array([draws.uniform(0, 1) for _ in range(3)])
    return Texture(pattern, colours, frame, phase, max(draws.uniform(-0.3, 0.5), 0))


def draw_room_textures(draws: Draws) -> tuple[Texture, ...]:
    """Matt textures of the six room faces; the four walls share one."""
    wall, floor, ceiling = (draw_texture(draws, ROOM_PALETTE) for _ in range(3))
    face_textures = (wall, wall, floor, ceiling, wall, wall)
    return tuple(
        Texture(t.pattern, t.colours, t.frame[0, 0] * _FACE_AXES[face // 2], t.phase, 0.0)
        for face, t in enumerate(face_textures)
    )


_FACE_AXES = np.array(
    [
        [[0, 0, 1], [0, 1, 0], [1, 0, 0]],
        [[1, 0, 0], [0, 0, 1], [0, 1, 0]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    ],
    dtype=np.float64,
)
"""For faces across x, y and z: rows are the axes along the face, along it, and across it."""


def _draw_colour(draws: Draws, palette: Palette) -> NDArray[np.float64]:
    hue, saturation = draws.uniform(*palette.hues), draws.uniform(*palette.saturations)
    return np.array(hsv_to_rgb(hue % 1, saturation, draws.uniform(0.3, 0.95)))


def albedo(texture: Texture, points: Floats) -> Floats:
    """Colours ``(3, M)`` in [0, 1] of a surface at points ``(3, M)`` in its own coordinates."""
    at = transform(texture.frame, points) + texture.phase.astype(np.float32)[:, None]
    mix = PATTERNS[texture.pattern](at)
    first, second = texture.colours.astype(np.float32)
    colours: Floats = first[:, None] + mix * (second - first)[:, None]
    return colours


def _plain(at: Floats) -> Floats:
    return np.zeros_like(at[0])


def _checker(at: Floats) -> Floats:
    cells = np.floor(at)
    parity: Floats = (cells[0] + cells[1] + cells[2]) % 2
    return parity


def _stripes(at: Floats) -> Floats:
    parity: Floats = np.floor(at[0] + np.float32(0.5) * at[2]) % 2
    return parity


def _waves(at: Floats) -> Floats:
    return _wave(at[0] + at[1] + np.float32(0.3) * _wave(at[2]))


def _bricks(at: Floats) -> Floats:
    row = np.floor(at[1])
    along = (at[0] + at[2]) * np.float32(0.5) + np.float32(0.5) * (row % 2)
    joint = (at[1] - row < 0.12) | (along - np.floor(along) < 0.06)
    return np.asarray(joint, dtype=np.float32)


def _clouds(at: Floats) -> Floats:
    total = np.zeros_like(at[0])
    for x, y, z, p in _CLOUD_WAVES:
        total += _wave(x * at[0] + y * at[1] + z * at[2] + p)
    mix: Floats = np.clip(np.float32(0.5) * total - np.float32(0.5), 0, 1)
    return mix


def _marble(at: Floats) -> Floats:
    return _wave(at[0] + np.float32(0.4) * at[1] + np.float32(1.2) * _clouds(at))


def _wave(at: Floats) -> Floats:
    mix: Floats = np.float32(0.5) + np.float32(0.5) * np.sin(np.float32(2 * pi) * at)
    return mix


_CLOUD_WAVES = (
    (0.9, 0.3, -0.5, 0.1),
    (-0.4, 1.1, 0.7, 0.4),
    (1.3, -0.8, 0.9, 0.7),
    (-1.7, -1.4, -1.6, 0.2),
)
PATTERNS: dict[str, Callable[[Floats], Floats]] = {
    "plain": _plain,
    "checker": _checker,
    "stripes": _stripes,
    "waves": _waves,
    "bricks": _bricks,
    "clouds": _clouds,
    "marble": _marble,
}
"""Share of the second colour, ``(M,)`` in [0, 1], at pattern coordinates ``(3, M)``."""
_NAMES = tuple(PATTERNS)
_FREQUENCIES = {
    "plain": (1, 1),
    "checker": (1, 3),
    "stripes": (1.5, 5),
    "waves": (0.5, 1.8),
    "bricks": (1.5, 3.5),
    "clouds": (0.5, 1.5),
    "marble": (0.6, 1.5),
}
"""Cells or waves per metre."""
