"""Labels against the geometry they come from, over many scenes."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from taskgroup.data.scenes.casting import Hits, cast
from taskgroup.data.scenes.labels import (
    CURVATURE_LIMIT,
    FORMATS,
    OCCLUSION_GAP,
    PART_CLASSES,
    SEGMENTATION_CLASSES,
    SUPERCLASS_OF,
    SUPERCLASSES,
    geometric_labels,
)
from taskgroup.data.scenes.layout import Camera, Scene, draw_scene
from taskgroup.data.scenes.shading import paint
from taskgroup.data.scenes.shapes import SHAPE_NAMES, Solid
from taskgroup.data.scenes.textures import ROOM_FACES, Texture
from taskgroup.tasks.base import IGNORE

SIZE = 48


@dataclass
class Sample:
    """A scene, what its pixels show, and its labels as float64 in delivered units."""

    scene: Scene
    hits: Hits
    labels: dict[str, NDArray[np.float64]]


def label(scene: Scene, size: int = SIZE) -> Sample:
    hits = cast(scene, size)
    stored = geometric_labels(scene, hits, paint(scene, hits), size)
    values = {n: stored[n].astype(np.float64) * form.scale for n, form in FORMATS.items()}
    return Sample(scene, hits, values)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [label(draw_scene(5, "train", index)) for index in range(40)]


def test_stored_types_and_shapes() -> None:
    scene = draw_scene(0, "train", 0)
    hits = cast(scene, 32)
    stored = geometric_labels(scene, hits, paint(scene, hits), 32)
    assert list(stored) == list(FORMATS)
    for name, form in FORMATS.items():
        assert stored[name].dtype == form.dtype
        assert stored[name].shape == form.shape(32)


def test_classes(samples: list[Sample]) -> None:
    assert len(SEGMENTATION_CLASSES) >= 9
    assert set(SUPERCLASS_OF) == set(SHAPE_NAMES)
    assert set(SUPERCLASS_OF.values()) == set(range(len(SUPERCLASSES)))
    seen = np.unique([np.unique(s.labels["segmentation"]).tolist() for s in samples[:1]])
    assert set(seen) <= set(range(len(SEGMENTATION_CLASSES)))
    everything = np.stack([s.labels["segmentation"] for s in samples])
    assert np.unique(everything).tolist() == list(range(len(SEGMENTATION_CLASSES)))


def test_segmentation_parts_and_saliency_agree(samples: list[Sample]) -> None:
    for sample in samples:
        segmentation, parts = sample.labels["segmentation"], sample.labels["parts"]
        assert ((parts == 0) == (segmentation < 3)).all()
        assert parts.max() < len(PART_CLASSES)
        saliency = sample.labels["saliency"][0] == 1
        shape = int(sample.labels["classification"])
        assert saliency.sum() == max(len(pixels) for pixels in sample.hits.members[ROOM_FACES:])
        assert np.unique(segmentation[saliency]).tolist() == [3 + shape]
        assert sample.labels["superclass"] == SUPERCLASS_OF[SHAPE_NAMES[shape]]


def camera_points(sample: Sample) -> NDArray[np.float64]:
    """Points ``(3, P)`` in the room, from the depth label alone."""
    camera, depth = sample.scene.camera, sample.labels["depth"].reshape(-1)
    centres = (2 * np.arange(SIZE) + 1) / SIZE - 1
    across, down = np.meshgrid(centres, centres)
    rays = np.stack([across.ravel(), -down.ravel(), np.full(SIZE * SIZE, -1 / camera.tangent)])
    return camera.position[:, None] + camera.rotation @ (rays * camera.tangent * depth)


def test_depth_gives_the_room_back(samples: list[Sample]) -> None:
    for sample in samples:
        points, surface = camera_points(sample), sample.hits.surface
        for face in range(ROOM_FACES):
            wall = 0 if face % 2 == 0 else sample.scene.room[face // 2]
            np.testing.assert_allclose(points[face // 2, surface == face], wall, atol=1e-3)
        for number, solid in enumerate(sample.scene.solids):
            here = points[:, surface == ROOM_FACES + number]
            if here.size:
                away = np.linalg.norm(here - solid.centre[:, None], axis=0)
                assert away.max() < solid.radius + 1e-3


def test_normals_are_unit_and_face_the_camera(samples: list[Sample]) -> None:
    for sample in samples:
        normals = sample.labels["normals"].reshape(3, -1)
        np.testing.assert_allclose(np.linalg.norm(normals, axis=0), 1, atol=1e-4)
        rays = sample.scene.camera.rotation.T @ sample.hits.rays
        assert ((normals * rays).sum(axis=0) < 1e-3).all()
        floor = sample.hits.surface == 2
        up = sample.scene.camera.rotation.T @ (0, 1, 0)  # of the room, seen by the camera
        np.testing.assert_allclose(normals[:, floor].T, np.tile(up, (floor.sum(), 1)), atol=1e-4)
        assert up[1] > 0.9


def test_normals_are_perpendicular_to_the_surface_that_depth_gives(samples: list[Sample]) -> None:
    for sample in samples[:10]:
        points = camera_points(sample).reshape(3, SIZE, SIZE)
        surface = sample.hits.surface.reshape(SIZE, SIZE)
        normals = sample.hits.normals.reshape(3, SIZE, SIZE)
        step = points[:, :, 1:] - points[:, :, :-1]
        flat = (surface[:, 1:] == surface[:, :-1]) & (surface[:, 1:] < ROOM_FACES)
        along = (step * normals[:, :, 1:]).sum(axis=0) / np.linalg.norm(step, axis=0)
        assert np.abs(along[flat]).max() < 0.02


def test_curvature_is_ordered_bounded_and_zero_where_flat(samples: list[Sample]) -> None:
    for sample in samples:
        larger, smaller = sample.labels["curvature"]
        assert (larger >= smaller).all()
        assert smaller.min() >= 0
        assert larger.max() <= CURVATURE_LIMIT
        flat = [0, 1, 2, *(3 + SHAPE_NAMES.index(n) for n in ("box", "pyramid", "prism"))]
        assert (larger[np.isin(sample.labels["segmentation"], flat)] == 0).all()
        balls = sample.labels["segmentation"] == 3 + SHAPE_NAMES.index("sphere")
        np.testing.assert_allclose(larger[balls], smaller[balls], rtol=0.01)
        assert (smaller[balls] > 0).all()


def test_reshading_is_the_cosine_to_the_camera(samples: list[Sample]) -> None:
    for sample in samples:
        rays = sample.hits.rays / np.linalg.norm(sample.hits.rays, axis=0)
        cosine = -(rays * sample.hits.normals).sum(axis=0)
        shading = sample.labels["reshading"].reshape(-1)
        np.testing.assert_allclose(shading, np.clip(cosine, 0, 1), atol=0.6 / 255)


FINER = 9


def true_occlusion(sample: Sample) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pixels that surely are, and that may be, occlusion edges, by a picture nine times as fine.

    Between the centres of two pixels lie eight finer ones: where the body changes there, depth
    jumps by what it jumps in truth, give or take a ninth of a pixel's slope.
    """
    fine = cast(sample.scene, FINER * SIZE)
    shape = (FINER * SIZE, FINER * SIZE)
    body = np.maximum(fine.surface.astype(int), ROOM_FACES - 1).reshape(shape)
    depth = fine.depth.reshape(shape)
    sure, maybe = np.zeros((2, SIZE, SIZE), dtype=bool)
    middle = FINER // 2
    for row in range(SIZE):
        for column in range(SIZE):
            for down, right in ((1, 0), (0, 1)):
                if row + down == SIZE or column + right == SIZE:
                    continue
                steps = np.arange(FINER + 1)
                rows = FINER * row + middle + down * steps
                columns = FINER * column + middle + right * steps
                bodies, depths = body[rows, columns], depth[rows, columns]
                change = bodies[1:] != bodies[:-1]
                if bodies[0] == bodies[-1] or not change.any():
                    continue
                ends = [(bodies[0], depths[0]), (bodies[-1], depths[-1])]
                second = (ends[0][0] < ROOM_FACES, ends[0][1]) > (
                    ends[1][0] < ROOM_FACES,
                    ends[1][1],
                )
                front = (row + down, column + right) if second else (row, column)
                jump = np.abs(np.diff(depths))[change].max()
                sure[front] |= change.sum() == 1 and jump > 3 * OCCLUSION_GAP
                maybe[front] |= jump > OCCLUSION_GAP / 3
    return sure, maybe


def test_occlusion_edges_stand_where_depth_jumps(samples: list[Sample]) -> None:
    found = missed = invented = 0
    for sample in samples[:12]:
        edges = sample.labels["occlusion_edges"][0] == 1
        sure, maybe = true_occlusion(sample)
        assert not edges[sample.labels["segmentation"] < 3].any()  # the room hides nothing
        found += (edges & maybe).sum()
        missed += (sure & ~edges).sum()
        invented += (edges & ~maybe).sum()
    assert found > 500
    assert missed < 0.01 * found
    assert invented < 0.02 * found


def simple_scene(solid: Solid) -> Scene:
    """One solid in a 6 x 4 x 8 metre room, seen level and straight ahead."""
    camera = Camera(np.array((3.0, 1.5, 7.5)), np.eye(3), 0.6)
    grey = Texture("plain", np.full((2, 3), 0.5), np.eye(3), np.zeros(3), 0.0)
    room = np.array((6.0, 4.0, 8.0))
    return Scene(room, camera, (solid,), (grey,) * 7, (), np.ones(3), 0.0, 0)


def box(x: float, y: float, z: float) -> Solid:
    return Solid(0, np.full(3, 0.5), np.eye(3), np.array((x, y, z)))


def test_a_box_on_the_floor_has_an_occlusion_edge_around_all_but_its_foot() -> None:
    sample = label(simple_scene(box(3, 0.5, 3)))
    shown = sample.labels["saliency"][0] == 1
    rows, columns = np.nonzero(shown)
    edges = sample.labels["occlusion_edges"][0] == 1
    assert edges[rows.min(), shown[rows.min()]].all()
    assert edges[shown[:, columns.min()], columns.min()][:-1].all()
    assert not edges[rows.max(), columns.min() + 1 : columns.max()].any()
    raised = label(simple_scene(box(3, 1.2, 3)))
    rows, columns = np.nonzero(raised.labels["saliency"][0])
    assert raised.labels["occlusion_edges"][0][rows.max(), columns.min() : columns.max()].all()


def test_parts_are_thirds_of_the_height() -> None:
    sample = label(simple_scene(box(3, 1.5, 3)))
    height = camera_points(sample)[1].reshape(SIZE, SIZE)
    front = sample.labels["saliency"][0] == 1
    expected = 1 + np.clip(np.floor((height - 1.0) * 3), 0, 2)
    assert (sample.labels["parts"] == expected)[front].mean() > 0.99
    assert set(np.unique(sample.labels["parts"])) == {0, 1, 2, 3}


def test_keypoints3d_stand_at_corners_not_on_edges_or_faces() -> None:
    sample = label(simple_scene(box(2.2, 0.5, 4)))  # its front and its right side show
    strength = sample.labels["keypoints3d"][0]
    rows, columns = np.nonzero(sample.labels["saliency"][0])
    corner = strength[rows.min() - 1 : rows.min() + 2, columns.min() - 1 : columns.min() + 2]
    middle_of_left_edge = strength[(rows.min() + rows.max()) // 2, columns.min()]
    assert strength.min() >= 0
    assert corner.max() > 5 * middle_of_left_edge
    assert strength[5, 24] == 0  # the wall ahead


def test_a_scene_whose_solids_are_out_of_sight_has_no_class() -> None:
    sample = label(simple_scene(box(0.6, 0.5, 7.4)))
    assert sample.labels["classification"] == IGNORE
    assert sample.labels["superclass"] == IGNORE
    assert not sample.labels["saliency"].any()
    assert not sample.labels["occlusion_edges"].any()
