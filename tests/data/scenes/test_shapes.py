"""Crossings, normals and curvatures against the definition of each solid."""

import numpy as np
import pytest
from numpy.typing import NDArray

from taskgroup.data.scenes.shapes import SHAPE_NAMES, Solid, crossing, surface

Array = NDArray[np.float64]


def random_rotation(rng: np.random.Generator) -> Array:
    matrix, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


def some_solid(name: str, seed: int = 0) -> Solid:
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.2, 0.9, 3)
    if name == "sphere":
        size[:] = size[0]
    if name in ("cylinder", "cone"):
        size[2] = size[0]
    return Solid(SHAPE_NAMES.index(name), size, random_rotation(rng), rng.uniform(-1, 1, 3))


def inside(solid: Solid, points: Array, grow: float = 0.0) -> NDArray[np.bool_]:
    """Whether points ``(3, M)`` lie in a solid, by its everyday definition."""
    x, y, z = (solid.rotation.T @ (points - solid.centre[:, None])) / solid.size[:, None]
    name, limit = SHAPE_NAMES[solid.shape], 1 + grow
    x, y, z = x / limit, y / limit, z / limit
    upright = np.abs(y) <= 1
    taper = (1 - y) / 2
    return {
        "box": (np.abs(x) <= 1) & upright & (np.abs(z) <= 1),
        "sphere": x * x + y * y + z * z <= 1,
        "ellipsoid": x * x + y * y + z * z <= 1,
        "cylinder": upright & (x * x + z * z <= 1),
        "cone": upright & (x * x + z * z <= taper * taper),
        "pyramid": upright & (np.abs(x) <= taper) & (np.abs(z) <= taper),
        "prism": upright & (np.abs(x) <= taper) & (np.abs(z) <= 1),
    }[name]


def rays_at(solid: Solid, seed: int, count: int = 400) -> tuple[Array, NDArray[np.float32]]:
    """An origin 4 metres away, and rays towards a cube that is a little larger than the solid."""
    rng = np.random.default_rng(seed)
    away = rng.standard_normal(3)
    origin = solid.centre + 4 * away / np.linalg.norm(away)
    aims = solid.centre[:, None] + 1.2 * solid.radius * rng.uniform(-1, 1, (3, count))
    return origin, ((aims - origin[:, None]) / 2).astype(np.float32)


@pytest.mark.parametrize("name", SHAPE_NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_a_ray_is_inside_between_enter_and_leave_only(name: str, seed: int) -> None:
    solid = some_solid(name, seed)
    origin, directions = rays_at(solid, seed)
    enter, leave = crossing(solid, origin, directions)
    hit = enter < leave
    assert 0.05 < hit.mean() < 0.95
    for parameter in np.linspace(0.5, 4, 351):
        points = origin[:, None] + parameter * directions.astype(np.float64)
        between = (enter < parameter) & (parameter < leave)
        assert not (inside(solid, points, -2e-3) & ~between).any()
        assert not (between & ~inside(solid, points, 2e-3)).any()


@pytest.mark.parametrize("name", SHAPE_NAMES)
def test_normals_are_unit_face_the_ray_and_match_the_surface(name: str) -> None:
    solid = some_solid(name, 5)
    origin, directions = rays_at(solid, 5)
    enter, leave = crossing(solid, origin, directions)
    hit = (enter < leave - 1e-3) & (enter > 0)
    points = (origin[:, None] + enter * directions)[:, hit].astype(np.float32)
    normals = surface(solid, points).normals
    np.testing.assert_allclose(np.linalg.norm(normals, axis=0), 1, atol=1e-5)
    assert ((normals * directions[:, hit]).sum(axis=0) < 1e-3).all()
    step = 0.01 * solid.size.min()
    assert inside(solid, points - step * normals).mean() > 0.97
    assert not inside(solid, points + step * normals, -1e-4).any()
    tangent = np.cross(normals, [0.3, 0.5, 0.8], axis=0)
    tangent /= np.linalg.norm(tangent, axis=0)
    for side in (-1, 1):  # a convex solid lies on one side of its tangent plane
        beyond = points + step * (side * tangent + 0.02 * normals)
        assert not inside(solid, beyond).any()


@pytest.mark.parametrize("name", SHAPE_NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_reach_is_the_farthest_surface_point(name: str, seed: int) -> None:
    solid = some_solid(name, seed)
    rng = np.random.default_rng(seed)
    cube = solid.centre[:, None] + solid.rotation @ (
        solid.size[:, None] * rng.uniform(-1, 1, (3, 60000))
    )
    points = cube[:, inside(solid, cube)]
    assert np.linalg.norm(points - solid.centre[:, None], axis=0).max() <= solid.radius + 1e-9
    for _ in range(5):
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        found = (direction @ (points - solid.centre[:, None])).max()
        assert found <= solid.reach(direction) + 1e-9
        assert found > solid.reach(direction) - 0.2 * solid.radius


IDENTITY, ORIGIN = np.eye(3), np.zeros(3)


@pytest.mark.parametrize(
    ("name", "size", "point", "expected"),
    [
        ("sphere", (0.5, 0.5, 0.5), (0.5, 0, 0), (2, 2)),
        ("cylinder", (0.25, 1, 0.25), (0.25, 0.3, 0), (4, 0)),
        ("cylinder", (0.25, 1, 0.25), (0.1, 1, 0), (0, 0)),
        ("box", (1, 1, 1), (1, 0.2, 0.3), (0, 0)),
        ("cone", (0.5, 0.5, 0.5), (0.25, 0, 0), (4 * 2 / 5**0.5, 0)),  # cosine of slope / radius
        ("ellipsoid", (1, 0.5, 0.25), (1, 0, 0), (1 / 0.25**2, 1 / 0.5**2)),  # a/c^2, a/b^2
    ],
)
def test_principal_curvatures(
    name: str,
    size: tuple[float, float, float],
    point: tuple[float, float, float],
    expected: tuple[float, float],
) -> None:
    solid = Solid(SHAPE_NAMES.index(name), np.array(size), IDENTITY, ORIGIN)
    found = surface(solid, np.array(point, dtype=np.float32)[:, None]).curvatures[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-3)


def test_curvature_follows_the_turn_of_the_normal_on_an_ellipsoid() -> None:
    solid = some_solid("ellipsoid", 2)
    origin, directions = rays_at(solid, 2)
    enter, leave = crossing(solid, origin, directions)
    hit = enter < leave
    points = (origin[:, None] + enter * directions)[:, hit].astype(np.float32)
    found = surface(solid, points)
    larger, smaller = found.curvatures
    assert (larger >= smaller).all()
    assert (smaller > 0).all()
    step = np.float32(1e-2)
    turns = []
    for angle in np.linspace(0, np.pi, 24):
        first = np.cross(found.normals, [0.1, 0.2, 0.97], axis=0)
        first /= np.linalg.norm(first, axis=0)
        tangent = np.cos(angle) * first + np.sin(angle) * np.cross(found.normals, first, axis=0)
        aside = [surface(solid, points + side * step * tangent).normals for side in (-1, 1)]
        turns.append(((aside[1] - aside[0]) * tangent).sum(axis=0) / (2 * step))
    np.testing.assert_allclose(np.max(turns, axis=0), larger, rtol=0.05)
    np.testing.assert_allclose(np.min(turns, axis=0), smaller, rtol=0.05)
