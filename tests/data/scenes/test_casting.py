"""Rays against a naive search along each of them; hand-made scenes with known answers."""

from dataclasses import replace

import numpy as np
import pytest

from taskgroup.data.scenes.casting import camera_rays, cast, within_cone
from taskgroup.data.scenes.layout import Camera, Light, Scene, draw_scene
from taskgroup.data.scenes.shading import illuminate, paint
from taskgroup.data.scenes.shapes import SHAPE_NAMES, Floats, Solid, transform
from taskgroup.data.scenes.textures import PATTERNS, ROOM_FACES, Texture, albedo

GREY = Texture("plain", np.full((2, 3), 0.5), np.eye(3), np.zeros(3), 0.0)


def inside(solid: Solid, points: np.ndarray) -> np.ndarray:
    """Whether points ``(3, M)`` lie in a solid, from the solid's description."""
    unit = (solid.rotation.T @ (points - solid.centre[:, None])) / solid.size[:, None]
    holds = np.ones(points.shape[1], dtype=bool)
    for plane in solid.form.planes:
        holds &= plane[:3] @ unit <= plane[3]
    if solid.form.quadric is not None:
        hx, hy, hz, g, k = solid.form.quadric
        holds &= np.array((hx, hy, hz)) @ unit**2 + g * unit[1] <= k
    return holds


def first_met(scene: Scene, direction: np.ndarray) -> tuple[float, int]:
    """Depth and surface by small steps along one ray."""
    depths = np.arange(0.3, 12, 0.005)
    points = scene.camera.position[:, None] + depths * direction[:, None]
    filled = {ROOM_FACES + n: inside(solid, points) for n, solid in enumerate(scene.solids)}
    for axis in range(3):
        filled[2 * axis] = points[axis] < 0
        filled[2 * axis + 1] = points[axis] > scene.room[axis]
    return min((depths[where.argmax()], name) for name, where in filled.items() if where.any())


def plain_scene(*solids: Solid, lights: tuple[Light, ...] = ()) -> Scene:
    """A 6 x 3 x 6 metre room seen along -z from one side, all grey."""
    camera = Camera(np.array((3.0, 1.5, 5.5)), np.eye(3), 1.0)
    textures = (GREY,) * (ROOM_FACES + len(solids))
    room, ambient = np.array((6.0, 3.0, 6.0)), np.full(3, 0.2)
    return Scene(room, camera, solids, textures, lights, ambient, 0.0, 0)


def ball(x: float, y: float, z: float, radius: float = 0.5) -> Solid:
    centre = np.array((x, y, z))
    return Solid(SHAPE_NAMES.index("sphere"), np.full(3, radius), np.eye(3), centre)


@pytest.mark.parametrize("index", range(6))
def test_agrees_with_stepping_along_each_ray(index: int) -> None:
    scene = draw_scene(11, "train", index)
    hits = cast(scene, 10)
    rays = camera_rays(scene, 10).astype(np.float64)
    expected = [first_met(scene, rays[:, pixel]) for pixel in range(100)]
    same = hits.surface == [surface for _, surface in expected]
    assert same.mean() >= 0.97  # a step may jump over a silhouette or a room edge
    depths = np.array([depth for depth, _ in expected])
    assert (np.abs(hits.depth - depths)[same] < 0.006).mean() >= 0.97


def test_an_empty_room_has_the_depth_of_its_walls() -> None:
    hits = cast(plain_scene(), 2)  # pixel centres at half of the view's half width
    assert hits.depth.tolist() == pytest.approx([3.0] * 4)  # 1.5 m up or down at slope 0.5
    assert hits.surface.tolist() == [3, 3, 2, 2]
    tall = replace(plain_scene(), room=np.array((6.0, 12.0, 6.0)))
    assert cast(tall, 2).depth[:2].tolist() == pytest.approx([5.5] * 2)


def test_a_ball_in_front_of_the_camera() -> None:
    hits = cast(plain_scene(ball(3, 1.5, 2)), 33)
    middle = 16 * 33 + 16
    assert hits.surface[middle] == ROOM_FACES
    assert hits.depth[middle] == pytest.approx(3.0, abs=1e-5)
    assert hits.normals[:, middle].tolist() == pytest.approx([0, 0, 1], abs=1e-4)
    assert hits.curvatures[:, middle].tolist() == pytest.approx([2, 2], rel=1e-3)
    assert all(
        np.isin(m, np.flatnonzero(hits.surface == s)).all() for s, m in enumerate(hits.members)
    )
    assert sum(map(len, hits.members)) == 33 * 33


def test_the_nearer_of_two_solids_shows_whatever_their_order() -> None:
    near, far = ball(3, 1.5, 4), ball(3.1, 1.5, 2)
    one, other = cast(plain_scene(near, far), 24), cast(plain_scene(far, near), 24)
    np.testing.assert_array_equal(one.depth, other.depth)
    swap = {ROOM_FACES: ROOM_FACES + 1, ROOM_FACES + 1: ROOM_FACES}
    assert [swap.get(s, s) for s in one.surface.tolist()] == other.surface.tolist()


def test_the_cone_around_a_ball_loses_no_ray_that_meets_it(rng: np.random.Generator) -> None:
    rays = rng.standard_normal((3, 5000)).astype(np.float32)
    towards = np.array((0.4, -0.3, 1.5))
    kept = within_cone(rays, np.linalg.norm(rays, axis=0), towards, 0.5)
    along = rays.T @ towards
    nearest = towards[:, None] - rays * along / (rays * rays).sum(axis=0)
    meets = (np.linalg.norm(nearest, axis=0) < 0.5) & (along > 0)
    assert set(np.flatnonzero(meets)) <= set(kept)
    assert len(kept) < 1.05 * meets.sum()
    assert len(within_cone(rays, np.linalg.norm(rays, axis=0), towards, 2.0)) == 5000


def test_transform_is_a_matrix_product(rng: np.random.Generator) -> None:
    matrix, vectors = rng.standard_normal((2, 3)), rng.standard_normal((3, 9)).astype(np.float32)
    np.testing.assert_allclose(transform(matrix, vectors), matrix @ vectors, rtol=1e-4, atol=1e-6)


def lit(scene: Scene, size: int = 64) -> Floats:
    hits = cast(scene, size)
    return illuminate(scene, hits, paint(scene, hits))


def test_without_lights_there_is_only_ambient_light() -> None:
    light = lit(plain_scene())
    assert light.max() <= 0.5 * 0.2 + 1e-6
    assert light.min() > 0


def test_a_solid_throws_a_shadow_away_from_the_light_and_none_on_itself() -> None:
    lamp = Light(np.array((3.0, 2.9, 3.0)), np.ones(3))
    thing = ball(3, 1.0, 3, 0.4)
    empty, full = plain_scene(lights=(lamp,)), plain_scene(thing, lights=(lamp,))
    hits = cast(full, 64)
    on_floor = hits.surface == 2
    before, after = lit(empty)[0], lit(full)[0]
    offset = np.hypot(hits.points[0] - 3, hits.points[2] - 3)
    reach = 2.9 * np.tan(np.arcsin(0.4 / 1.9))  # of the shadow's edge on the floor
    shaded, clear = on_floor & (offset < reach - 0.05), on_floor & (offset > reach + 0.05)
    assert shaded.sum() > 20
    assert (after[shaded] <= 0.5 * 0.2 + 1e-6).all()
    np.testing.assert_allclose(after[clear], before[clear])
    upper = (hits.surface == ROOM_FACES) & (hits.normals[1] > 0.5)
    assert (after[upper] > 0.5 * 0.2).all()


def test_every_pattern_mixes_between_the_two_colours(rng: np.random.Generator) -> None:
    points = rng.uniform(-4, 4, (3, 2000)).astype(np.float32)
    colours = np.array([[0.1, 0.2, 0.3], [0.9, 0.8, 0.7]])
    for name in PATTERNS:
        painted = albedo(Texture(name, colours, 2 * np.eye(3), rng.random(3), 0.0), points)
        assert painted.shape == (3, 2000)
        assert (painted >= colours[0][:, None] - 1e-5).all()
        assert (painted <= colours[1][:, None] + 1e-5).all()
        assert name == "plain" or painted.std() > 0.05
