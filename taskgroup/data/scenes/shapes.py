"""The solids of the scenes: unit shapes described by data, and how a ray crosses one.

Every shape is the part of space inside some half-spaces and, for the curved ones, inside one
quadric: all are convex, all fit the cube ``[-1, 1]^3`` with ``y`` up, so that a solid is a unit
shape under an affine map, a ray keeps its parameter, and the crossing is one interval found in
closed form. Arithmetic is elementwise float32 (no BLAS), so a ray's result depends on nothing
around it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """A convex unit shape: ``planes`` and, unless all is flat, one quadric.

    Attributes:
        planes: ``(F, 4)`` float32; inside is where ``n . q <= d`` for each row ``(n, d)``.
        quadric: ``(5,)``: inside is where ``hx x^2 + hy y^2 + hz z^2 + g y <= k``; None if flat.
    """

    planes: Floats
    quadric: tuple[float, float, float, float, float] | None = None


def _planes(*rows: tuple[float, float, float, float]) -> Floats:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


_BOTTOM, _TOP = (0, -1, 0, 1), (0, 1, 0, 1)
_RIGHT_SLOPE, _LEFT_SLOPE = (1, 0.5, 0, 0.5), (-1, 0.5, 0, 0.5)
_FRONT_SLOPE, _BACK_SLOPE = (0, 0.5, 1, 0.5), (0, 0.5, -1, 0.5)
_FRONT, _BACK = (0, 0, 1, 1), (0, 0, -1, 1)

SHAPES: dict[str, Shape] = {
    "box": Shape(_planes((1, 0, 0, 1), (-1, 0, 0, 1), _BOTTOM, _TOP, _FRONT, _BACK)),
    "sphere": Shape(_planes(), (1, 1, 1, 0, 1)),
    "cylinder": Shape(_planes(_BOTTOM, _TOP), (1, 0, 1, 0, 1)),
    "cone": Shape(_planes(_BOTTOM, _TOP), (1, -0.25, 1, 0.5, 0.25)),
    "pyramid": Shape(_planes(_BOTTOM, _RIGHT_SLOPE, _LEFT_SLOPE, _FRONT_SLOPE, _BACK_SLOPE)),
    "prism": Shape(_planes(_BOTTOM, _RIGHT_SLOPE, _LEFT_SLOPE, _FRONT, _BACK)),
    "ellipsoid": Shape(_planes(), (1, 1, 1, 0, 1)),
}
"""Every shape; the order is part of the class numbers."""
SHAPE_NAMES: tuple[str, ...] = tuple(SHAPES)


@dataclass(frozen=True)
class Solid:
    """A unit shape, scaled, turned and moved into the room.

    Attributes:
        shape: Index into :data:`SHAPE_NAMES`.
        size: Half extents along the solid's own axes, ``(3,)`` float64, metres.
        rotation: ``(3, 3)`` float64; columns are the solid's axes in the room.
        centre: ``(3,)`` float64, metres.
    """

    shape: int
    size: NDArray[np.float64]
    rotation: NDArray[np.float64]
    centre: NDArray[np.float64]

    @property
    def form(self) -> Shape:
        """The unit shape."""
        return SHAPES[SHAPE_NAMES[self.shape]]

    @cached_property
    def to_unit(self) -> NDArray[np.float64]:
        """``(3, 3)`` map of room directions to unit-shape directions."""
        return self.rotation.T / self.size[:, None]

    @cached_property
    def radius(self) -> float:
        """Radius in metres of a ball around ``centre`` that holds the solid."""
        if SHAPE_NAMES[self.shape] in ("sphere", "ellipsoid"):
            return float(self.size.max())
        if SHAPE_NAMES[self.shape] in ("cylinder", "cone"):
            return float(np.hypot(self.size[1], max(self.size[0], self.size[2])))
        return float(np.sqrt((self.size**2).sum()))

    def reach(self, direction: NDArray[np.float64]) -> float:
        """How far the solid extends from its centre along a unit ``direction``, metres."""
        x, y, z = np.abs(self.rotation.T @ direction) * self.size
        up = float((self.rotation.T @ direction)[1] * self.size[1])
        name = SHAPE_NAMES[self.shape]
        if name == "box":
            return float(x + y + z)
        if name in ("sphere", "ellipsoid"):
            return float(np.sqrt(x * x + y * y + z * z))
        if name == "cylinder":
            return float(y + np.hypot(x, z))
        if name == "cone":
            return max(up, float(np.hypot(x, z)) - up)
        if name == "pyramid":
            return max(up, float(x + z) - up)
        return max(up, float(x) - up) + float(z)


def transform(matrix: NDArray[np.floating], vectors: Floats) -> Floats:
    """Apply ``(R, 3)`` to ``(3, M)`` without BLAS; returns ``(R, M)`` float32."""
    m = matrix.astype(np.float32)
    product: Floats = m[:, :1] * vectors[0]
    product += m[:, 1:2] * vectors[1]
    product += m[:, 2:3] * vectors[2]
    return product


class Interval(NamedTuple):
    """Ray parameters where each ray enters and leaves; ``enter >= leave`` where it misses."""

    enter: Floats
    leave: Floats


def crossing(solid: Solid, origin: NDArray[np.float64], directions: Floats) -> Interval:
    """Where rays from one ``origin`` cross a solid.

    Args:
        solid: The solid.
        origin: ``(3,)`` metres; outside the solid.
        directions: ``(3, M)`` float32, any length: parameters count in it.

    Returns:
        Two arrays ``(M,)``; parameters may be negative (behind the origin) or infinite.
    """
    start = solid.to_unit @ (origin - solid.centre)
    moves = transform(solid.to_unit, directions)
    enter = np.full(moves.shape[1], -np.inf, dtype=np.float32)
    leave = np.full(moves.shape[1], np.inf, dtype=np.float32)
    form = solid.form
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(form.planes):
            _cut_by_planes(form.planes, start, moves, enter, leave)
        if form.quadric is not None:
            _cut_by_quadric(form.quadric, start, moves, enter, leave)
    return Interval(enter, leave)


def _cut_by_planes(
    planes: Floats, start: NDArray[np.float64], moves: Floats, enter: Floats, leave: Floats
) -> None:
    """Shorten the intervals, in place, to what lies inside every half-space."""
    rate = transform(planes[:, :3], moves)
    gap = (planes[:, 3] - planes[:, :3] @ start).astype(np.float32)[:, None]
    at = gap / rate
    np.maximum(enter, np.where(rate < 0, at, -np.inf).max(axis=0), out=enter)
    np.minimum(leave, np.where(rate > 0, at, np.inf).min(axis=0), out=leave)


def _cut_by_quadric(
    quadric: tuple[float, float, float, float, float],
    start: NDArray[np.float64],
    moves: Floats,
    enter: Floats,
    leave: Floats,
) -> None:
    """Shorten the intervals, in place, to what lies inside the quadric's lower sheet.

    The quadratic is solved around its vertex (the ray's deepest point), which keeps float32
    exact enough where the origin is many radii away.
    """
    hx, hy, hz, g, k = quadric
    sx, sy, sz = (np.float32(value) for value in start)
    dx, dy, dz = moves
    square = hx * dx * dx + hy * dy * dy + hz * dz * dz
    half = (hx * sx) * dx + (hy * sy + g / 2) * dy + (hz * sz) * dz
    vertex = -half / square
    x, y, z = sx + vertex * dx, sy + vertex * dy, sz + vertex * dz
    value = hx * x * x + hy * y * y + hz * z * z + g * y - k
    reach = np.sqrt(-value / square)
    first, second = vertex - reach, vertex + reach
    if hy < 0:  # a steep ray is inside a cone's two sheets outside its roots: take the lower one
        steep, down = square < 0, dy < 0
        first, second = (
            np.where(steep, np.where(down, second, -np.inf), first),
            np.where(steep, np.where(down, np.inf, first), second),
        )
    np.maximum(enter, first, out=enter)
    np.minimum(leave, second, out=leave)
    missed = np.isnan(reach)
    enter[missed], leave[missed] = np.inf, -np.inf


class Surface(NamedTuple):
    """The surface of a solid at some of its points.

    Attributes:
        normals: Outward unit vectors in the room, ``(3, M)``.
        curvatures: Principal curvatures, larger first, ``(2, M)``, 1/metre; positive is convex.
        local: The points in the solid's own axes from its centre, ``(3, M)``, metres.
    """

    normals: Floats
    curvatures: Floats
    local: Floats


def surface(solid: Solid, points: Floats) -> Surface:
    """Normals and curvatures of a solid at points ``(3, M)`` of its surface.

    The constraint that holds with the least slack is the face that a point lies on.
    """
    shifted = points - solid.centre.astype(np.float32)[:, None]
    local = transform(solid.rotation.T, shifted)
    size = solid.size.astype(np.float32)[:, None]
    unit = local / size
    gradient, slack = _plane_gradients(solid.form.planes, unit)
    gradient = gradient / size
    curvatures = np.zeros((2, points.shape[1]), dtype=np.float32)
    if solid.form.quadric is not None:
        hessian, curved, value = _quadric_gradient(solid.form.quadric, unit, size)
        on_quadric = value > slack
        gradient = np.where(on_quadric, curved, gradient)
        curvatures = np.where(on_quadric, _principal_curvatures(hessian, curved), curvatures)
    normals = transform(solid.rotation, gradient)
    return Surface(normals / _length(normals), curvatures, local)


def _length(vectors: Floats) -> Floats:
    length: Floats = np.sqrt(np.maximum((vectors * vectors).sum(axis=0), np.float32(1e-20)))
    return length


def _plane_gradients(planes: Floats, unit: Floats) -> tuple[Floats, Floats]:
    """Normal ``(3, M)`` and value ``(M,)`` of the tightest half-space; -inf without planes."""
    if not len(planes):
        return np.zeros_like(unit), np.full(unit.shape[1], -np.inf, dtype=np.float32)
    value = transform(planes[:, :3], unit) - planes[:, 3:]
    tightest = value.argmax(axis=0)
    return planes[tightest, :3].T, value.max(axis=0)


def _quadric_gradient(
    quadric: tuple[float, float, float, float, float], unit: Floats, size: Floats
) -> tuple[Floats, Floats, Floats]:
    """Hessian diagonal ``(3, 1)`` and gradient ``(3, M)`` in metres, and value ``(M,)``."""
    second = np.array(quadric[:3], dtype=np.float32)[:, None]
    gradient = 2 * second * unit
    gradient[1] += np.float32(quadric[3])
    value = (second * unit * unit).sum(axis=0) + quadric[3] * unit[1] - quadric[4]
    return 2 * second / size**2, gradient / size, value


def _principal_curvatures(hessian: Floats, gradient: Floats) -> Floats:
    """Principal curvatures ``(2, M)`` of an implicit surface with a diagonal Hessian.

    Goldman (2005), "Curvature formulas for implicit curves and surfaces", section 4; the sign is
    turned so that a ball's are positive, and the smaller one is taken from the product, which is
    at least 0 on a convex surface. At a cone's apex the length of the gradient is bounded.
    """
    a, b, c = hessian
    squares = gradient * gradient
    norm2 = np.maximum(squares.sum(axis=0), np.float32(1e-6))
    norm = np.sqrt(norm2)
    gauss = (squares[0] * (b * c) + squares[1] * (a * c) + squares[2] * (a * b)) / (norm2 * norm2)
    along = (hessian * squares).sum(axis=0)
    mean = (norm2 * (a + b + c) - along) / (2 * norm2 * norm)
    spread = np.sqrt(np.maximum(mean * mean - gauss, 0))
    larger = mean + spread
    smaller = np.maximum(gauss, 0) / np.maximum(larger, np.float32(1e-6))
    return np.stack([larger, np.minimum(smaller, larger)])
