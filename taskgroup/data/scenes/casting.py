"""Camera rays and what each of them meets first.

One scene at a time, in arrays over its pixels: a 64 x 64 picture stays in the processor's cache,
and nothing about a sample can depend on the batch it was rendered in.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from taskgroup.data.scenes.layout import Scene, Vector
from taskgroup.data.scenes.shapes import Floats, Solid, crossing, surface, transform
from taskgroup.data.scenes.textures import ROOM_FACES

Indices = NDArray[np.intp]

_FACE_NORMALS = np.array(
    [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=np.float32
).T
"""Inward normals of the room faces, ``(3, 6)``, in the order of ``ROOM_FACES``."""


@dataclass(frozen=True)
class Hits:
    """What the ray through each pixel centre meets first; ``P`` pixels in row-major order.

    Attributes:
        rays: Ray directions in the room, ``(3, P)``; 1 long along the camera's axis.
        depth: Distance along the camera's axis, ``(P,)``, metres.
        surface: Room face 0..5, or 6 + number of the solid, ``(P,)``.
        members: Pixels of each room face and solid, in ascending order.
        points: Where the rays end, ``(3, P)``, metres in the room.
        normals: Unit normals in the room, towards the camera's side, ``(3, P)``.
        curvatures: Principal curvatures, larger first, ``(2, P)``, 1/metre.
        local: Points in the coordinates that textures live in, ``(3, P)``, metres.
    """

    rays: Floats
    depth: Floats
    surface: NDArray[np.uint8]
    members: tuple[Indices, ...]
    points: Floats
    normals: Floats
    curvatures: Floats
    local: Floats


@lru_cache(maxsize=4)
def _pixel_grid(size: int) -> Floats:
    """Image-plane coordinates of pixel centres, ``(3, P)``: right, up, and -1 (forward)."""
    centres = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
    right, down = np.tile(centres, size), np.repeat(centres, size)
    return np.stack([right, -down, np.full(size * size, -1, dtype=np.float32)])


def camera_rays(scene: Scene, size: int) -> Floats:
    """Directions ``(3, P)`` in the room, 1 long along the camera's axis."""
    tangent = scene.camera.tangent
    return transform(scene.camera.rotation * (tangent, tangent, 1.0), _pixel_grid(size))


def cast(scene: Scene, size: int) -> Hits:
    """Follow the rays of a ``size`` x ``size`` picture to the first surface they meet."""
    rays = camera_rays(scene, size)
    depth, surfaces = _cast_room(scene, rays)
    lengths = np.sqrt((rays * rays).sum(axis=0))
    for number, solid in enumerate(scene.solids):
        _cast_solid(scene, number, solid, (rays, lengths), depth, surfaces)
    points = scene.camera.position.astype(np.float32)[:, None] + depth * rays
    members = tuple(
        np.flatnonzero(surfaces == number) for number in range(ROOM_FACES + len(scene.solids))
    )
    normals = _FACE_NORMALS.take(surfaces, axis=1, mode="clip")
    curvatures = np.zeros((2, points.shape[1]), dtype=np.float32)
    local = points.copy()
    for solid, pixels in zip(scene.solids, members[ROOM_FACES:], strict=True):
        found = surface(solid, points[:, pixels])
        normals[:, pixels], curvatures[:, pixels] = found.normals, found.curvatures
        local[:, pixels] = found.local
    return Hits(rays, depth, surfaces, members, points, normals, curvatures, local)


def _cast_room(scene: Scene, rays: Floats) -> tuple[Floats, NDArray[np.uint8]]:
    """Depth and room face, both ``(P,)``, as if the room were empty."""
    forwards = rays > 0
    position = scene.camera.position
    ahead, behind = (scene.room - position).astype(np.float32), -position.astype(np.float32)
    gap = np.where(forwards, ahead[:, None], behind[:, None])
    with np.errstate(divide="ignore"):
        depths = gap / rays
    np.abs(depths, out=depths)  # a ray along a wall divides by zero: far away on either side
    axis = depths.argmin(axis=0)
    depth = depths.min(axis=0)
    far_side = np.take_along_axis(forwards, axis[None], axis=0)[0]
    return depth, (2 * axis + far_side).astype(np.uint8)


def _cast_solid(
    scene: Scene,
    number: int,
    solid: Solid,
    rays_and_lengths: tuple[Floats, Floats],
    depth: Floats,
    surfaces: NDArray[np.uint8],
) -> None:
    """Enter a solid into ``depth`` and ``surfaces``, in place, where it is the nearest so far."""
    rays, lengths = rays_and_lengths
    origin = scene.camera.position
    pixels = within_cone(rays, lengths, solid.centre - origin, solid.radius)
    enter, leave = crossing(solid, origin, rays[:, pixels])
    nearer = (enter < leave) & (enter > 0) & (enter < depth[pixels])
    depth[pixels[nearer]] = enter[nearer]
    surfaces[pixels[nearer]] = ROOM_FACES + number


def within_cone(rays: Floats, lengths: Floats, towards: Vector, radius: float) -> Indices:
    """Which rays from one point may meet a ball.

    Args:
        rays: ``(3, P)`` directions.
        lengths: Their lengths, ``(P,)``.
        towards: From the rays' origin to the ball's centre, ``(3,)``, metres.
        radius: The ball's radius in metres, widened here by a hair for rounding.

    Returns:
        Indices of rays that pass the ball, in ascending order; all if the origin is inside it.
    """
    distance = float(np.sqrt(towards @ towards))
    if distance <= 1.001 * radius:
        return np.arange(rays.shape[1])
    sine = 1.001 * radius / distance
    x, y, z = (towards / (distance * np.sqrt(1 - sine * sine))).astype(np.float32)
    along = rays[0] * x
    along += rays[1] * y
    along += rays[2] * z
    return np.flatnonzero(along > lengths)
