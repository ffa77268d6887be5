from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from taskgroup.data.base import SPLITS, DatasetConfig, VisionDataset, parse_dataset
from taskgroup.data.readers.taskonomy import CLASS_NAMES, list_views
from taskgroup.errors import DataError

TASKS = {
    "segmentation",
    "depth",
    "edges",
    "normals",
    "reshading",
    "keypoints2d",
    "keypoints3d",
    "depth_euclidean",
    "autoencoding",
    "occlusion_edges",
    "curvature",
}
GEOMETRIC = ("normals", "reshading", "keypoints3d", "occlusion_edges", "curvature")


def section(root: Path, **options: object) -> DatasetConfig:
    return parse_dataset({"name": "taskonomy", "root": str(root), **options})


def stored(folder: Path, domain: str, stem: str = "beach/point_1200_view_0") -> np.ndarray:
    """The numbers of a file, float64, ``(C, H, W)``."""
    name = "segmentsemantic" if domain == "segment_semantic" else domain
    with Image.open(folder / domain / f"{stem}_domain_{name}.png") as image:
        values = np.asarray(image).astype(np.float64)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def of_beach(dataset: VisionDataset, folder: Path, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Values and mask of view 0 of point 1200 of the beach, found by its picture."""
    picture = torch.from_numpy(stored(folder, "rgb") / 255).float()
    batch = dataset.batch(range(len(dataset)))
    (place,) = [n for n, image in enumerate(batch.images) if torch.equal(image, picture)]
    values, valid = batch.targets[task]
    return values[place].numpy(), valid[place].numpy()


@pytest.fixture
def folder(taskonomy_root: Path) -> Path:
    return taskonomy_root / "taskonomy"


def naive_target(folder: Path, task: str) -> np.ndarray:
    """Section 2.2 of the specification, one formula per task."""
    match task:
        case "depth":
            return np.log(1 + stored(folder, "depth_zbuffer")) / np.log(65536)
        case "depth_euclidean":
            return np.log(1 + stored(folder, "depth_euclidean")) / np.log(65536)
        case "reshading":
            red, green, blue = stored(folder, "reshading") / 255
            return 2 * (0.299 * red + 0.587 * green + 0.114 * blue)[None] - 1
        case "edges":
            return np.clip(stored(folder, "edge_texture") / 65535, 0, 0.08) / 0.04 - 1
        case "keypoints2d":
            return np.clip(stored(folder, "keypoints2d") / 65535, 0, 0.005) / 0.0025 - 1
        case "keypoints3d":
            return 2 * stored(folder, "keypoints3d") / 65535 - 1
        case "occlusion_edges":
            share = stored(folder, "edge_occlusion")[0] / 65535 / 0.00625
            return np.clip(gaussian_filter(share, 4 * 24 / 256), 0, 1)[None]
        case "curvature":
            first, second, _ = stored(folder, "principal_curvature")
            return np.stack([(first - 123.572) / 31.922, (second - 120.1) / 21.658])
        case "normals":
            vectors = stored(folder, "normal") / 127.5 - 1
            return vectors / np.linalg.norm(vectors, axis=0)
        case _:
            return stored(folder, "rgb") / 255


@pytest.mark.parametrize("task", sorted(TASKS - {"segmentation"}))
def test_every_task_is_encoded_as_specified(folder: Path, task: str) -> None:
    values, valid = of_beach(section(folder).open("test", (task,)), folder, task)
    expected = naive_target(folder, task)
    assert values.shape == expected.shape
    np.testing.assert_allclose(values[:, valid], expected[:, valid], rtol=1e-5, atol=2e-6)
    if task in {*GEOMETRIC, "depth", "depth_euclidean"}:
        assert not valid[:6].any()
        assert not values[:, ~valid].any()
    else:
        assert valid.all()
    if task == "normals":
        short = np.linalg.norm(stored(folder, "normal") / 127.5 - 1, axis=0) < 0.5
        assert np.array_equal(valid[6:], ~short[6:])
    elif task in GEOMETRIC:
        assert valid[6:].all()


def test_classes_are_numbered_from_zero_and_unlabelled_is_invalid(folder: Path) -> None:
    config = section(folder)
    assert config.tasks()["segmentation"].num_classes == len(CLASS_NAMES) == 17
    values, valid = of_beach(config.open("test", ("segmentation",)), folder, "segmentation")
    labels = stored(folder, "segment_semantic")[0]
    assert np.array_equal(valid, labels > 0)
    assert np.array_equal(values, np.where(labels > 0, labels - 1, 255))


def test_missing_files_of_a_task_are_found_without_decoding(folder: Path) -> None:
    config = section(folder)
    for split in SPLITS:
        config.check_split(split, sorted(TASKS))
    lost = sorted((folder / "depth_zbuffer").rglob("point_1200_view_0_*.png"))[0]
    lost.unlink()
    for path in (folder / "segment_semantic").rglob("*.png"):
        if int(path.name.split("_")[1]) >= 1200:
            path.unlink()
    config.check_split("train", sorted(TASKS))
    config.check_split("test", ["normals"])
    with pytest.raises(DataError, match=rf"test must have a file of depth .* {lost} is missing"):
        config.check_split("test", ["depth"])
    with pytest.raises(DataError, match="test must have a file of segmentation for some picture"):
        config.check_split("test", ["segmentation"])


def test_depth_in_metres(folder: Path) -> None:
    dataset = section(folder, depth_unit="metres").open("test", ("depth",))
    values, valid = of_beach(dataset, folder, "depth")
    np.testing.assert_allclose(values[0][valid], stored(folder, "depth_zbuffer")[0][valid] / 512)


def test_all_eleven_tasks_are_there(folder: Path) -> None:
    assert set(section(folder).tasks()) == TASKS


def test_a_task_without_a_folder_is_not_there_or_computed(folder: Path) -> None:
    for domain in ("edge_texture", "normal", "segment_semantic"):
        (folder / domain).rename(folder / f"no_{domain}")
    config = section(folder)
    assert set(config.tasks()) == TASKS - {"normals", "segmentation"}
    assert config.open("test", ("edges",)).batch([0]).targets["edges"].values.min() >= 0


def test_without_euclidean_depth_nothing_says_where_geometry_is(folder: Path) -> None:
    (folder / "depth_euclidean").rename(folder / "elsewhere")
    assert set(section(folder).tasks()) == TASKS - {*GEOMETRIC, "depth_euclidean"}


def places(config: DatasetConfig, folder: Path, split: str) -> set[str]:
    """Building and point of every sample, found by the picture."""
    views = {}
    for view in list_views(folder):
        with Image.open(view.file("rgb")) as image:
            views[np.asarray(image).tobytes()] = view.place
    dataset = config.open(split, ())
    images = dataset.batch(range(len(dataset))).images
    return {views[(255 * i).round().byte().permute(1, 2, 0).numpy().tobytes()] for i in images}


def test_points_split_it_and_no_point_is_in_two_splits(folder: Path) -> None:
    config = section(folder)
    found = {split: places(config, folder, split) for split in SPLITS}
    assert found["test"] == {"beach/1200", "cave/1999"}
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 7
    assert places(section(folder, test_from_point=1500), folder, "test") == {"cave/1999"}


def test_buildings_split_it(folder: Path) -> None:
    config = section(folder, buildings={"test": ["cave"]})
    assert places(config, folder, "test") == {"cave/3", "cave/1999"}
    others = [places(config, folder, split) for split in SPLITS if split != "test"]
    assert set.union(*others) == {f"beach/{point}" for point in (3, 40, 41, 42, 1200)}
    assert sum(map(len, others)) == 5


def test_a_building_must_be_known_and_in_one_split(folder: Path) -> None:
    with pytest.raises(ValueError, match="a building must be in one split, got cave twice"):
        section(folder, buildings={"test": ["cave"], "train": ["cave"]})
    with pytest.raises(DataError, match=r"got 'moon'; there are: beach, cave"):
        section(folder, buildings={"test": ["moon"]}).tasks()


def test_one_building_without_a_folder_of_its_own(folder: Path, tmp_path: Path) -> None:
    for domain in folder.iterdir():
        (domain / "beach").rename(tmp_path / "only")
        for path in (domain / "cave").iterdir():
            path.unlink()
        (domain / "cave").rmdir()
        domain.rmdir()
        (tmp_path / "only").rename(domain)
    config = section(folder)
    assert set(config.tasks()) == TASKS
    assert len(config.open("test", tuple(TASKS)).batch([0])) == 1


@pytest.mark.parametrize("domain", ["segment_semantic", "segmentsemantic"])
@pytest.mark.parametrize("name", ["segment_semantic", "segmentsemantic"])
def test_both_names_of_the_labels(folder: Path, domain: str, name: str) -> None:
    if domain != "segment_semantic":
        (folder / "segment_semantic").rename(folder / domain)
    for path in (folder / domain).rglob("*.png"):
        path.rename(path.with_name(path.name.replace("segmentsemantic", name)))
    valid = section(folder).open("train", ("segmentation",)).batch([0]).targets["segmentation"][1]
    assert valid[:, :, 6:].all()


def test_a_view_without_labels_is_invalid(folder: Path) -> None:
    for path in (folder / "segment_semantic" / "cave").iterdir():
        path.write_bytes(b"\x89PNG")
    for path in (folder / "segment_semantic" / "beach").glob("point_1200*"):
        path.unlink()
    values, valid = (
        section(folder).open("test", ("segmentation",)).batch([0, 1]).targets["segmentation"]
    )
    assert not valid.any()
    assert (values == 255).all()


def test_resizing_blends_neither_classes_nor_holes(folder: Path) -> None:
    tasks = ("segmentation", *GEOMETRIC, "depth")
    batch = section(folder, image_size=16).open("test", tasks).batch([0, 1])
    values, valid = batch.targets["segmentation"]
    assert set(values[valid].tolist()) <= set(range(17))
    assert not valid[:, :, :4].any()
    values, valid = batch.targets["depth"]
    assert not valid[:, :4].any()
    assert valid[:, 5:].all()
    assert values[:, 0][valid].max() < np.log(9000) / np.log(65536)
    lengths = batch.targets["normals"].values.square().sum(1)[batch.targets["normals"].valid]
    assert torch.allclose(lengths, torch.ones_like(lengths), atol=1e-5)


def test_labels_may_have_another_size(folder: Path) -> None:
    for path in (folder / "segment_semantic").rglob("*.png"):
        with Image.open(path) as image:
            image.resize((48, 48), Image.Resampling.NEAREST).save(path)
    dataset = section(folder).open("test", ("segmentation",))
    values, _ = of_beach(dataset, folder, "segmentation")
    labels = stored(folder, "segment_semantic")[0]
    assert np.array_equal(values, np.where(labels > 0, labels - 1, 255)[1::2, 1::2])


def truncate(folder: Path) -> None:
    for path in (folder / "normal").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:300])


def remove(folder: Path) -> None:
    for path in (folder / "normal").rglob("*.png"):
        path.unlink()


def raise_label(folder: Path) -> None:
    for path in (folder / "segment_semantic").rglob("*.png"):
        labels = np.random.default_rng(0).integers(0, 40, (24, 24), np.uint8)
        Image.fromarray(labels).save(path)


def shrink(folder: Path) -> None:
    for path in (folder / "depth_euclidean").rglob("*.png"):
        Image.fromarray(np.ones((8, 8), np.uint16)).save(path)


def flatten(folder: Path) -> None:
    for path in (folder / "normal").rglob("*.png"):
        Image.fromarray(np.ones((24, 24), np.uint8)).save(path)


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (truncate, r"domain_normal\.png must be a whole, readable picture"),
        (remove, r"domain_normal\.png must be a whole, .*No such file"),
        (raise_label, r"must hold class numbers 0 \(unlabelled\) to 17, got 39"),
        (shrink, r"domain_depth_euclidean\.png must have the 24 x 24 pixels of .*got 8 x 8"),
        (flatten, r"must have 3 channel\(s\) of 8 or 16 bits, got mode L"),
    ],
)
def test_damage_is_one_line(folder: Path, harm: Callable[[Path], None], found: str) -> None:
    harm(folder)
    with pytest.raises(DataError, match=found) as caught:
        section(folder).open("train", ("segmentation", "normals")).batch([0])
    assert "\n" not in str(caught.value)


def test_the_real_files(real_data: Path) -> None:
    config = section(real_data, buildings={"test": ["tum_office"]})
    assert set(config.tasks()) == TASKS - {"segmentation", "keypoints3d", "curvature"}
    assert [len(config.open(split, ())) for split in ("train", "test")] == [5, 1]
    with pytest.raises(DataError, match="every point of train is in another split"):
        config.open("confirm", ())
    tasks = tuple(config.tasks())
    batch = config.open("train", tasks).batch(range(5))
    assert batch.images.shape == (5, 3, 256, 256)
    depth, valid = batch.targets["depth"]
    assert 0.7 < valid.float().mean() < 1
    metres = torch.expm1(depth[:, 0][valid].double() * np.log(65536)) / 512
    assert 0.3 < metres.min() < metres.max() < 10
    normals, seen = batch.targets["normals"]
    assert torch.allclose(normals.square().sum(1)[seen], torch.ones(()), atol=1e-5)
    for task in ("edges", "keypoints2d", "reshading"):
        values = batch.targets[task].values
        assert values.min() >= -1
        assert -1 < values.mean() < values.max() <= 1
    edges = batch.targets["occlusion_edges"].values
    assert edges.min() >= 0
    assert edges.max() == 1


def test_the_real_depth_in_metres_is_that_of_the_frames(real_data: Path) -> None:
    config = section(real_data, buildings={"test": ["tum_office"]}, depth_unit="metres")
    values, valid = config.open("test", ("depth",)).batch([0]).targets["depth"]
    assert 0.4 < values[:, 0][valid].min() < 1.5
    assert 1 < values[:, 0][valid].median() < 5
