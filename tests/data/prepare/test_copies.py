"""Copies of data sets in another size: right, whole, resumable; every bad file is named."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from taskgroup.cli import app
from taskgroup.data.base import SPLITS, DatasetConfig, parse_dataset
from taskgroup.data.prepare.copies import Prepared, parse_size, prepare
from taskgroup.data.readers.cityscapes import TRAIN_IDS
from taskgroup.errors import ConfigError, ResourceError

NAMES = ("cityscapes", "taskonomy", "camvid")
FILES = {"cityscapes": 36, "taskonomy": 88, "camvid": 20}
FOLDERS = {"cityscapes": "cityscapes", "taskonomy": "taskonomy", "camvid": "CamVid"}
PACKS = {
    "cityscapes": ("cityscapes_layout", 24, {}),
    "taskonomy": ("taskonomy_layout", 48, {"buildings": {"test": ["tum_office"]}}),
    "camvid": ("camvid_original", 48, {}),
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(name: str, request: pytest.FixtureRequest) -> Path:
    root: Path = request.getfixturevalue(f"{name}_root")
    return root / FOLDERS[name]


def section(name: str, root: Path, **options: object) -> DatasetConfig:
    return parse_dataset({"name": name, "root": str(root), **options})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def array(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_copy_reads_like_the_data_set_resized(name: str, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert prepare(name, folder, copy, size=(16, 16)) == Prepared(FILES[name], 0, ())
    small, large = section(name, copy), section(name, folder, image_size=16)
    tasks = tuple(large.tasks())
    assert tuple(small.tasks()) == tasks
    for split in SPLITS:
        ours, theirs = small.open(split, tasks), large.open(split, tasks)
        assert len(ours) == len(theirs)
        a, b = ours.batch(range(len(ours))), theirs.batch(range(len(ours)))
        assert torch.equal(a.images, b.images)
        for task in tasks:
            values, valid = a.targets[task]
            if values.ndim == 3:
                assert torch.equal(values, b.targets[task].values)
            if task in {"depth", "depth_euclidean"}:
                assert torch.equal(valid, b.targets[task].valid)
                assert torch.allclose(values, b.targets[task].values, atol=1e-3)


def test_disparity_is_not_blended_with_holes(cityscapes_root: Path, tmp_path: Path) -> None:
    prepare("cityscapes", cityscapes_root, tmp_path / "copy", size=(8, 16))
    for path in (tmp_path / "copy" / "disparity").rglob("*.png"):
        found = array(path)
        assert found.dtype == np.uint16
        assert found.shape == (8, 16)
        assert not found[:, :4].any()
        assert found[:, 5:].min() > 3000


def test_labels_are_the_centre_of_each_cell(cityscapes_root: Path, tmp_path: Path) -> None:
    source = cityscapes_root / "cityscapes" / "gtFine"
    prepare("cityscapes", cityscapes_root, tmp_path / "copy", size=(8, 32))
    for path in source.rglob("*.png"):
        small = array(tmp_path / "copy" / "gtFine" / path.relative_to(source))
        assert np.array_equal(small, array(path)[1::3])


def test_the_source_stays_as_it_was(name: str, folder: Path, tmp_path: Path) -> None:
    before = contents(folder)
    prepare(name, folder, tmp_path / "copy", size=(16, 16))
    assert contents(folder) == before
    with pytest.raises(ConfigError, match="DEST must be another folder"):
        prepare(name, folder, folder, size=(16, 16))


def test_it_goes_on_where_it_was(camvid_root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    prepare("camvid", camvid_root, copy, size=(16, 20))
    whole = contents(copy)
    first, second, third, *_ = sorted(copy.rglob("*.png"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:70])
    os.utime(third, (0, 0))
    third.with_name(f".{third.name}.draft").write_bytes(b"half")
    assert prepare("camvid", camvid_root, copy, size=(16, 20)) == Prepared(3, 17, ())
    assert contents(copy) == whole
    assert prepare("camvid", camvid_root, copy, size=(16, 16)) == Prepared(20, 0, ())


def test_several_processes_write_the_same(camvid_root: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    prepare("camvid", camvid_root, tmp_path / "one", size=(16, 16))
    prepare(
        "camvid",
        camvid_root,
        tmp_path / "two",
        size=(16, 16),
        workers=2,
        report=lambda done, total: seen.append((done, total)),
    )
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert seen == [(done, 20) for done in range(1, 21)]


def missing(path: Path) -> None:
    path.unlink()


def tiny(path: Path) -> None:
    path.write_bytes(b"\x89PNG")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:120])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (missing, "is missing"),
        (tiny, r"is tiny \(4 bytes\)"),
        (truncated, "must be a whole, readable picture"),
    ],
)
def test_bad_files_are_named_and_the_others_written(
    name: str,
    folder: Path,
    tmp_path: Path,
    harm: Callable[[Path], None],
    words: str,
) -> None:
    kind = {"cityscapes": "disparity", "taskonomy": "normal", "camvid": "trainannot"}[name]
    bad = min(path for path in (folder / kind).rglob("*.png"))
    if harm is truncated and bad.stat().st_size <= 120:
        Image.effect_noise((32, 24), 50).save(bad)
    harm(bad)
    found = prepare(name, folder, tmp_path / "copy", size=(16, 16))
    assert found.written == FILES[name] - 1
    (problem,) = found.problems
    assert bad.name in problem
    assert re.search(words, problem)
    assert not (tmp_path / "copy" / bad.relative_to(folder)).exists()
    assert not list((tmp_path / "copy").rglob(".*"))


def test_a_label_map_of_another_size_is_named(camvid_root: Path, tmp_path: Path) -> None:
    path = min((camvid_root / "CamVid" / "trainannot").iterdir())
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(path)
    (problem,) = prepare("camvid", camvid_root, tmp_path / "copy", size=(16, 16)).problems
    assert f"{path} must be 24 x 32 pixels" in problem


def test_a_folder_that_cannot_be_written_is_one_line(camvid_root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ResourceError, match=r"must be written, but .*run the command again"):
        prepare("camvid", camvid_root, tmp_path / "file" / "copy", size=(16, 16))


@pytest.mark.parametrize("name", ["camvid"])
def test_a_file_that_reads_back_otherwise_is_not_kept(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that changes one pixel: the copy is refused, and made whole by the next call."""
    copy, save = tmp_path / "copy", Image.Image.save

    def change_and_save(image: Image.Image, *arguments: object, **options: object) -> None:
        pixels = np.asarray(image).copy()
        pixels.flat[0] ^= 1
        save(Image.fromarray(pixels), *arguments, **options)

    arguments = ["data", "prepare", name, str(folder), str(copy), "--size", "16", "--workers", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", change_and_save)
        result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("taskgroup: ")]
    assert re.search(r"must be written, but what was written reads back otherwise; .*again", line)
    assert not [path for path in copy.rglob("*") if path.suffix == ".png"]
    assert prepare(name, folder, copy, size=(16, 16)) == Prepared(FILES[name], 0, ())
    assert not list(copy.rglob(".*"))


@pytest.mark.parametrize("text", ["", "x", "12", "16x", "16x16x16", "-16", "big"])
def test_a_size_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--size must be HEIGHTxWIDTH or one number"):
        parse_size(text)


def test_the_command(camvid_root: Path, tmp_path: Path) -> None:
    arguments = ["data", "prepare", "camvid", str(camvid_root), str(tmp_path / "copy")]
    arguments += ["--size", "16x20", "--workers", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert f"Prepared: {tmp_path / 'copy'} (files written: 20, kept: 0)" in result.stdout
    assert "prepare camvid" in result.stderr
    assert "100%" in result.stderr
    bad = min((camvid_root / "CamVid" / "train").iterdir())
    bad.unlink()
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert f"{bad} is missing" in result.stderr
    assert "files that could not be prepared: 1" in result.stderr
    result = CliRunner().invoke(app, [*arguments[:-4], "--size", "no"])
    assert result.exit_code == 2
    assert "--size must be" in result.stderr


@pytest.mark.parametrize("name", ["cityscapes", "taskonomy"])
def test_the_command_copies_layouts_of_several_tasks(
    name: str, folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    arguments = ["data", "prepare", name, str(folder), str(copy), "--size", "16x24"]
    arguments += ["--workers", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert f"Prepared: {copy} (files written: {FILES[name]}, kept: 0)" in result.stdout
    assert f"prepare {name}" in result.stderr
    assert {array(path).shape[:2] for path in copy.rglob("*.png")} == {(16, 24)}
    dataset = section(name, copy)
    assert dataset.open("train", tuple(dataset.tasks())).batch([0]).images.shape == (1, 3, 16, 24)
    bad = min((folder / {"cityscapes": "disparity", "taskonomy": "reshading"}[name]).rglob("*.png"))
    bad.unlink()
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert f"(files written: 0, kept: {FILES[name] - 1})" in result.stdout
    assert f"taskgroup: {bad} is missing" in result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_real_files(name: str, real_data: Path, tmp_path: Path) -> None:
    pack, files, options = PACKS[name]
    assert prepare(name, real_data / pack, tmp_path, size=(64, 80)) == Prepared(files, 0, ())
    small = section(name, tmp_path, **options)
    assert set(small.tasks()) == set(section(name, real_data / pack, **options).tasks())
    batch = small.open("test", tuple(small.tasks())).batch([0])
    assert batch.images.shape == (1, 3, 64, 80)
    if name == "cityscapes":
        path = next((tmp_path / "gtFine").rglob("*_labelTrainIds.png"))
        assert set(np.unique(array(path))) <= set(np.unique(TRAIN_IDS))
