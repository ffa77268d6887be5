from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from taskgroup.data.base import SPLITS, DatasetConfig, Split, VisionDataset, parse_dataset
from taskgroup.data.readers.camvid import CLASS_NAMES, sequence
from taskgroup.errors import DataError


def section(root: Path, **options: object) -> DatasetConfig:
    return parse_dataset({"name": "camvid", "root": str(root), **options})


def videos(config: DatasetConfig, split: Split, published: list[str]) -> set[str]:
    return {sequence(published[place]) for place in config.split_parts()[split].positions}


def all_samples(dataset: VisionDataset) -> dict[bytes, torch.Tensor]:
    """Label map by picture."""
    batch = dataset.batch(range(len(dataset)))
    classes = batch.targets["segmentation"].values
    return {
        image.numpy().tobytes(): label for image, label in zip(batch.images, classes, strict=True)
    }


def test_pictures_and_label_maps_belong_together(camvid_root: Path) -> None:
    folder = camvid_root / "CamVid"
    found = all_samples(section(camvid_root).open("test", ("segmentation",)))
    assert len(found) == 3
    for path in (folder / "test").iterdir():
        pixels = np.asarray(Image.open(path)).transpose(2, 0, 1).astype(np.float32) / 255
        labels = np.asarray(Image.open(folder / "testannot" / path.name)).astype(np.int64)
        expected = torch.from_numpy(np.where(labels == 11, 255, labels))
        assert torch.equal(found[np.ascontiguousarray(pixels).tobytes()], expected)


def test_unlabelled_pixels_are_invalid(camvid_root: Path) -> None:
    target = section(camvid_root).open("train", ("segmentation",)).batch([0])
    values, valid = target.targets["segmentation"]
    assert (values[0, 22:, :16] == 255).all()
    assert not valid[0, 22:, :16].any()
    assert int((~valid).sum()) == 2 * 16


def test_shares_leave_unlabelled_pixels_out(camvid_root: Path) -> None:
    info = section(camvid_root).tasks()["segmentation"]
    assert info.class_names == CLASS_NAMES
    assert info.background is None
    labelled = 24 * 32 - 2 * 16
    expected = [2 * 16 / labelled] * 11
    expected[3] += 24 * 16 / labelled
    assert info.class_shares == pytest.approx(expected)


def test_confirm_is_a_whole_video_that_no_other_split_has(camvid_root: Path) -> None:
    config = section(camvid_root)
    assert [len(config.open(split, ())) for split in SPLITS] == [3, 2, 2, 3]
    names = sorted(path.stem for path in (camvid_root / "CamVid" / "train").iterdir())
    assert videos(config, "confirm", names) == {"0006R0"}
    assert videos(config, "train", names) == {"0001TP", "0016E5"}
    assert config.split_parts()["validation"].origin == "published"


def test_a_missing_val_folder_is_cut_by_video(camvid_root: Path) -> None:
    folder = camvid_root / "CamVid"
    for name in ("val", "valannot"):
        for path in (folder / name).iterdir():
            path.unlink()
        (folder / name).rmdir()
    config = section(camvid_root)
    names = sorted(path.stem for path in (folder / "train").iterdir())
    assert len(videos(config, "validation", names) | videos(config, "confirm", names)) == 2
    assert not videos(config, "validation", names) & videos(config, "train", names)


def test_without_a_free_video_confirm_says_so_and_train_still_opens(camvid_root: Path) -> None:
    for path in (camvid_root / "CamVid").glob("train*/0006R0*"):
        path.unlink()
    config = section(camvid_root)
    assert len(config.open("train", ())) == 3
    with pytest.raises(DataError, match="every video sequence of train is in another split"):
        config.open("confirm", ())


def test_jpeg_pictures_do_and_size_is_brought_to(camvid_root: Path) -> None:
    for path in (camvid_root / "CamVid").glob("*/*.png"):
        if not path.parent.name.endswith("annot"):
            Image.open(path).save(path.with_suffix(".jpg"))
            path.unlink()
    batch = (
        section(camvid_root, image_size=16).open("train", ("segmentation", "edges")).batch([0, 1])
    )
    assert batch.images.shape == (2, 3, 16, 16)
    values, valid = batch.targets["segmentation"]
    assert values.shape == (2, 16, 16)
    assert set(values[valid].tolist()) <= set(range(11))
    assert (values[:, :, 8:] == 3).all()


def remove_label(folder: Path) -> None:
    (folder / "trainannot" / "0001TP_006690.png").unlink()


def remove_picture(folder: Path) -> None:
    (folder / "train" / "0001TP_006690.png").unlink()


def shrink_picture(folder: Path) -> None:
    path = folder / "train" / "0001TP_006690.png"
    Image.open(path).resize((16, 16)).save(path)


def raise_label(folder: Path) -> None:
    path = folder / "trainannot" / "0001TP_006690.png"
    Image.fromarray(np.full((24, 32), 40, np.uint8)).save(path)


def truncate_label(folder: Path) -> None:
    path = folder / "trainannot" / "0001TP_006690.png"
    path.write_bytes(path.read_bytes()[:60])


def truncate_picture(folder: Path) -> None:
    path = folder / "train" / "0001TP_006690.png"
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (remove_label, "0001TP_006690 is not in .*trainannot"),
        (remove_picture, "0001TP_006690 is not in .*train "),
        (shrink_picture, "must be .* pixels"),
        (raise_label, "must hold class numbers from 0 to 11"),
        (truncate_label, "must be a whole, readable picture"),
        (truncate_picture, "must be a whole, readable picture"),
    ],
)
def test_damage_is_one_line(camvid_root: Path, harm: Callable[[Path], None], found: str) -> None:
    harm(camvid_root / "CamVid")
    with pytest.raises(DataError, match=found) as caught:
        all_samples(section(camvid_root).open("train", ("segmentation",)))
    assert "\n" not in str(caught.value)


def test_a_missing_layout_names_the_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'camvid' must have train, trainannot/\*\.png in"):
        section(tmp_path).tasks()


def test_it_cannot_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="download must be left out for camvid"):
        section(tmp_path, download=True)


def test_the_real_pack(real_data: Path) -> None:
    config = section(real_data, image_size=96)
    assert [len(config.open(split, ())) for split in SPLITS] == [266, 101, 101, 163]
    shares = config.tasks()["segmentation"].class_shares
    assert shares[3] == pytest.approx(0.316, abs=0.01)
    batch = config.open("test", tuple(config.tasks())).batch([0, 5])
    assert batch.images.shape == (2, 3, 96, 96)
    assert batch.targets["segmentation"].valid.float().mean() > 0.7
    original = section(real_data / "camvid_original").open("test", ("segmentation",))
    assert original.batch([0]).images.shape == (1, 3, 360, 480)
