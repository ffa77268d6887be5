"""What stands in a scene: the room, the camera, the solids, the lights, drawn from one seed.

A scene depends on (seed, split, index) alone: not on the picture's size, nor on any other scene.
Lengths are metres; the room is the box from the origin to ``Scene.room`` with ``y`` up.
"""

from dataclasses import dataclass, replace
from math import cos, hypot, pi, radians, sin, tan

import numpy as np
from numpy.typing import NDArray

from taskgroup.data.base import SPLITS, Split
from taskgroup.data.scenes.random_stream import Draws
from taskgroup.data.scenes.shapes import SHAPE_NAMES, Solid
from taskgroup.data.scenes.textures import (
    ROOM_FACES,
    Texture,
    draw_room_textures,
    draw_texture,
    solid_palette,
)

Vector = NDArray[np.float64]

UP = np.array((0.0, 1.0, 0.0))
NUM_SOLIDS = (2, 7)
HEADROOM = 0.6
"""Metres under the ceiling that solids leave to the lights."""
CANDIDATES = 12
"""Places tried for one solid; the widest gap is taken, and the solid made smaller to fit it."""
LEAST_SCALE = 0.5
"""A solid that would have to be made smaller than this is left out, unless it is needed."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: ``(3,)`` metres.
        rotation: ``(3, 3)``; columns are its right, up and backward axes in the room.
        tangent: Tangent of half the field of view, the same across and down.
    """

    position: Vector
    rotation: Vector
    tangent: float


@dataclass(frozen=True)
class Light:
    """A point light: ``position`` in metres and ``colour`` (RGB power, both ``(3,)``)."""

    position: Vector
    colour: Vector


@dataclass(frozen=True)
class Scene:
    """Everything that a picture and its labels follow from.

    Attributes:
        room: Extent ``(3,)`` of the room in metres.
        camera: The camera.
        solids: Two to seven solids, the first one the largest in front of the camera.
        textures: Textures of the six room faces, then of the solids.
        lights: One to three point lights.
        ambient: Light from everywhere, ``(3,)``.
        noise: Standard deviation of the sensor noise at mid grey.
        sensor_seed: Seed of the sensor noise.
    """

    room: Vector
    camera: Camera
    solids: tuple[Solid, ...]
    textures: tuple[Texture, ...]
    lights: tuple[Light, ...]
    ambient: Vector
    noise: float
    sensor_seed: int


def draw_scene(seed: int, split: Split, index: int) -> Scene:
    """The scene at ``index`` of a split; splits and seeds have streams of their own."""
    draws = Draws((seed, SPLITS.index(split), index))
    room = np.array((draws.uniform(4, 8), draws.uniform(2.5, 3.3), draws.uniform(4, 8)))
    camera, yaw = _draw_camera(draws, room)
    solids = _draw_solids(draws, room, camera, yaw)
    textures = draw_room_textures(draws) + tuple(
        draw_texture(draws, solid_palette(solid.shape)) for solid in solids
    )
    assert len(textures) == ROOM_FACES + len(solids)
    lights = _draw_lights(draws, room)
    ambient = draws.uniform(0.15, 0.35) * _tint(draws)
    noise = draws.uniform(0.004, 0.02)
    sensor_seed = draws.integer(2**31)
    return Scene(room, camera, solids, textures, lights, ambient, noise, sensor_seed)


def _draw_camera(draws: Draws, room: Vector) -> tuple[Camera, float]:
    """A camera on one side of the room that looks across it, and the angle it looks at."""
    yaw = draws.uniform(0, 2 * pi)
    ahead, aside = (-sin(yaw), -cos(yaw)), (cos(yaw), -sin(yaw))
    middle = (room[0] / 2, room[2] / 2)
    free = min(
        (middle[axis] - 0.3) / abs(step) for axis, step in enumerate(ahead) if abs(step) > 1e-6
    )
    back, shift = draws.uniform(0.6, 1) * free, draws.uniform(-0.7, 0.7)
    x = min(max(middle[0] - back * ahead[0] + shift * aside[0], 0.3), room[0] - 0.3)
    z = min(max(middle[1] - back * ahead[1] + shift * aside[1], 0.3), room[2] - 0.3)
    pitch, roll = radians(draws.uniform(-20, -3)), radians(draws.uniform(-4, 4))
    rotation = _turn_y(yaw) @ _turn_x(pitch) @ _turn_z(roll)
    position = np.array((x, draws.uniform(1.1, 1.9), z))
    return Camera(position, rotation, tan(radians(draws.uniform(58, 76)) / 2)), yaw


def _draw_solids(draws: Draws, room: Vector, camera: Camera, yaw: float) -> tuple[Solid, ...]:
    wanted = draws.integer(NUM_SOLIDS[1] - NUM_SOLIDS[0] + 1) + NUM_SOLIDS[0]
    solids: list[Solid] = []
    free_tops: list[Solid] = []
    for number in range(wanted):
        low, high = (0.5, 0.75) if number == 0 else (0.3, 0.6)
        shape, scale = draws.integer(len(SHAPE_NAMES)), draws.uniform(low, high)
        size = _draw_size(draws, SHAPE_NAMES[shape], scale)
        rotation, upright = _draw_rotation(draws, SHAPE_NAMES[shape])
        solid = _lower(Solid(shape, size, rotation, np.zeros(3)), room[1] - HEADROOM)
        if free_tops and draws.chance(0.35):
            placed = _put_on_top(solid, free_tops.pop(), room)
        else:
            needed = number < NUM_SOLIDS[0]
            placed = _put_on_floor(draws, solid, solids, (room, camera, yaw), needed=needed)
            if placed is not None and upright and SHAPE_NAMES[shape] in ("box", "cylinder"):
                free_tops.append(placed)
        if placed is not None:
            solids.append(placed)
    return tuple(solids)


def _draw_size(draws: Draws, shape: str, scale: float) -> Vector:
    """Half extents ``(3,)`` of a solid of about ``scale`` metres."""
    if shape == "sphere":
        return np.full(3, 0.9 * scale)
    if shape == "ellipsoid":
        extents = [scale * draws.uniform(1.2, 1.4), *(scale * draws.uniform(0.55, 0.8),) * 2]
        extents[2] *= draws.uniform(0.8, 1.25)
        first = draws.integer(3)
        return np.array(extents[-first:] + extents[:-first])
    width, height = draws.uniform(0.65, 0.95), draws.uniform(0.7, 1.2)
    if shape in ("cone", "pyramid", "prism"):
        scale *= 1.15  # they fill half of their box
    if shape in ("cylinder", "cone"):
        return scale * np.array((width, height, width))
    return scale * np.array((width, height, width * draws.uniform(0.75, 1.35)))


def _draw_rotation(draws: Draws, shape: str) -> tuple[Vector, bool]:
    """A turn about the vertical, or, for one solid in six, any turn; and whether it is upright."""
    turn = _turn_y(draws.uniform(0, 2 * pi))
    tumbled = draws.chance(0.5 if shape == "ellipsoid" else 1 / 6)
    if not tumbled:
        return turn, True
    return turn @ _turn_x(draws.uniform(0, 2 * pi)) @ _turn_z(draws.uniform(0, 2 * pi)), False


def _lower(solid: Solid, height: float) -> Solid:
    """The solid, made smaller where it is higher than ``height`` metres."""
    scale = min(1.0, height / (solid.reach(UP) + solid.reach(-UP)))
    return replace(solid, size=scale * solid.size)


def _put_on_top(solid: Solid, base: Solid, room: Vector) -> Solid | None:
    """The solid on a flat top, made smaller where it is too wide; None if too high."""
    room_on_top = 1.1 * min(base.size[0], base.size[2])
    size = solid.size * min(1.0, room_on_top / solid.radius)
    smaller = replace(solid, size=size)
    top = base.centre[1] + base.size[1]
    centre = np.array((base.centre[0], top + smaller.reach(-UP), base.centre[2]))
    fits = centre[1] + smaller.reach(UP) < room[1] - HEADROOM
    return replace(smaller, centre=centre) if fits else None


def _put_on_floor(
    draws: Draws,
    solid: Solid,
    others: list[Solid],
    view: tuple[Vector, Camera, float],
    *,
    needed: bool,
) -> Solid | None:
    """The solid where the camera sees it and nothing stands; None if no gap was wide enough."""
    best, best_gap = np.zeros(2), -np.inf
    for _ in range(CANDIDATES):
        place = _draw_place(draws, view, solid.radius)
        gap = _gap(place, others, view) - solid.radius
        if gap > best_gap:
            best, best_gap = place, gap
        if gap >= 0:
            break
    scale = min(1.0, 1 + best_gap / solid.radius)
    if scale < LEAST_SCALE and not needed:
        return None
    scale = max(scale, 0.15)
    smaller = replace(solid, size=scale * solid.size)
    centre = np.array((best[0], smaller.reach(-UP), best[1]))
    return replace(smaller, centre=centre)


def _draw_place(draws: Draws, view: tuple[Vector, Camera, float], radius: float) -> Vector:
    """A point ``(x, z)`` of the floor in front of the camera."""
    _, camera, yaw = view
    distance = radius + draws.uniform(0.9, 3.6)
    sideways = draws.uniform(-0.85, 0.85) * camera.tangent * distance
    x = camera.position[0] - sin(yaw) * distance + cos(yaw) * sideways
    z = camera.position[2] - cos(yaw) * distance - sin(yaw) * sideways
    return np.array((x, z))


def _gap(place: Vector, others: list[Solid], view: tuple[Vector, Camera, float]) -> float:
    """Distance in metres from a place to the nearest wall, solid, or the camera's surroundings."""
    room, camera, _ = view
    x, z = place
    gaps = [x, z, room[0] - x, room[2] - z]
    gaps.append(hypot(x - camera.position[0], z - camera.position[2]) - 0.8)
    gaps += [hypot(x - o.centre[0], z - o.centre[2]) - o.radius for o in others]
    return float(min(gaps))


def _draw_lights(draws: Draws, room: Vector) -> tuple[Light, ...]:
    """One to three lights under the ceiling, together of the same power in every scene."""
    powers = [draws.uniform(0.4, 1) for _ in range(draws.integer(3) + 1)]
    lights = []
    for power in powers:
        x, z = draws.uniform(0.12, 0.88) * room[0], draws.uniform(0.12, 0.88) * room[2]
        position = np.array((x, room[1] - draws.uniform(0.15, 0.5), z))
        lights.append(Light(position, power / sum(powers) * _tint(draws)))
    return tuple(lights)


def _tint(draws: Draws) -> Vector:
    """A nearly white colour of mean 1, between warm and cool."""
    warm = draws.uniform(-0.12, 0.12)
    return np.array((1 + warm, 1.0, 1 - warm))


def _turn_x(angle: float) -> Vector:
    c, s = cos(angle), sin(angle)
    return np.array(((1, 0, 0), (0, c, -s), (0, s, c)))


def _turn_y(angle: float) -> Vector:
    c, s = cos(angle), sin(angle)
    return np.array(((c, 0, s), (0, 1, 0), (-s, 0, c)))


def _turn_z(angle: float) -> Vector:
    c, s = cos(angle), sin(angle)
    return np.array(((c, -s, 0), (s, c, 0), (0, 0, 1)))
