"""What every drawn scene must satisfy."""

import numpy as np

from taskgroup.data.base import SPLITS
from taskgroup.data.scenes.layout import UP, Scene, draw_scene
from taskgroup.data.scenes.random_stream import Draws
from taskgroup.data.scenes.textures import ROOM_FACES

SCENES = [draw_scene(seed, split, i) for seed in (0, 7) for split in SPLITS for i in range(25)]


def same(first: Scene, second: Scene) -> bool:
    return repr(first) == repr(second)


def test_draws_depend_on_the_key_alone_and_cover_the_range() -> None:
    draws, again, other = Draws((1, 2, 3)), Draws((1, 2, 3)), Draws((1, 2, 4))
    numbers = [draws.uniform(-1, 3) for _ in range(1000)]
    assert numbers == [again.uniform(-1, 3) for _ in range(1000)]
    assert numbers != [other.uniform(-1, 3) for _ in range(1000)]
    assert -1 <= min(numbers) < -0.9
    assert 2.9 < max(numbers) < 3
    assert {draws.integer(3) for _ in range(100)} == {0, 1, 2}
    assert 20 < sum(draws.chance(0.3) for _ in range(100)) < 40


def test_a_scene_is_the_same_whatever_is_drawn_before() -> None:
    first = draw_scene(3, "test", 5)
    draw_scene(3, "test", 6)
    assert same(first, draw_scene(3, "test", 5))


def test_seeds_splits_and_indices_differ() -> None:
    keys = [(0, "train", 0), (1, "train", 0), (0, "validation", 0), (0, "train", 1)]
    scenes = [draw_scene(seed, split, index) for seed, split, index in keys]  # type: ignore[arg-type]
    assert len({scene.room.tobytes() for scene in scenes}) == len(keys)


def test_numbers_of_things() -> None:
    solids = {len(scene.solids) for scene in SCENES}
    assert solids == {2, 3, 4, 5, 6, 7}
    assert {len(scene.lights) for scene in SCENES} == {1, 2, 3}
    assert all(len(scene.textures) == ROOM_FACES + len(scene.solids) for scene in SCENES)


def test_everything_is_inside_the_room_and_nothing_inside_a_solid() -> None:
    for scene in SCENES:
        check_inside(scene)


def check_inside(scene: Scene) -> None:
    assert (scene.camera.position > 0.2).all()
    assert (scene.camera.position < scene.room - 0.2).all()
    np.testing.assert_allclose(
        scene.camera.rotation @ scene.camera.rotation.T, np.eye(3), atol=1e-12
    )
    assert np.linalg.det(scene.camera.rotation) > 0
    for solid in scene.solids:
        for axis in np.eye(3):
            assert solid.centre @ axis - solid.reach(-axis) > -1e-9
            assert solid.centre @ axis + solid.reach(axis) < scene.room @ axis + 1e-9
        assert np.linalg.norm(solid.centre - scene.camera.position) > solid.radius
    for light in scene.lights:
        assert (light.position > 0).all()
        assert (light.position < scene.room).all()
        tops = [solid.centre[1] + solid.reach(UP) for solid in scene.solids]
        assert light.position[1] > max(tops)


def test_solids_stand_on_the_floor_or_on_another_and_apart() -> None:
    for scene in SCENES:
        check_standing(scene)


def check_standing(scene: Scene) -> None:
    for solid in scene.solids:
        bottom = solid.centre[1] - solid.reach(-UP)
        tops = [other.centre[1] + other.reach(UP) for other in scene.solids if other is not solid]
        assert min(abs(bottom - height) for height in (0, *tops)) < 1e-9
    on_floor = [s for s in scene.solids if abs(s.centre[1] - s.reach(-UP)) < 1e-9]
    for number, first in enumerate(on_floor):
        for second in on_floor[:number]:
            flat = (first.centre - second.centre)[[0, 2]]
            assert (
                np.hypot(*flat) > 0.999 * (first.radius + second.radius)
                or min(first.size.max(), second.size.max()) < 0.2
            )
