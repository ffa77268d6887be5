"""How many images each split has, and what so few cannot show."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from taskgroup.cli.app import app
from taskgroup.config import parse
from taskgroup.data.base import DATASETS
from taskgroup.data.census import SplitCount, census_text, census_warning, split_counts

SPACE = """
name: photos
dataset: {{name: image_folder, root: {root}, image_size: 32}}
model: {{backbone: resnet_small, width: 8}}
main_task: classification
auxiliary_tasks: {{subset: [edges]}}
loss_weights: 0.1
adversary: {{attack: pgd, epsilon: 2/255, steps: 1}}
training: {{epochs: 1, batch_size: 8}}
validation: {{attack: pgd, epsilon: 2/255, steps: 1}}
objectives: [{{maximize: classification/robust/accuracy}}]
search: {{trials: 4, sampler: random}}
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """40 pictures in four folders, of which the splits become 24, 4, 4 and 8."""
    for number in range(40):
        folder = tmp_path / "photos" / "abcd"[number % 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number, 0, 0)).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_splits_and_classes_are_counted(photos: Path) -> None:
    counts = split_counts(
        parse(DATASETS["image_folder"], {"name": "image_folder", "root": photos}), "classification"
    )
    assert [own.images for own in counts] == [24, 4, 4, 8]
    assert all(sum(own.classes.values()) == own.images for own in counts)
    assert [sum(own.classes[name] for own in counts) for name in "abcd"] == [10] * 4


def test_a_space_on_few_images_is_warned_of_once(photos: Path, tmp_path: Path) -> None:
    space = tmp_path / "photos.yaml"
    space.write_text(SPACE.format(root=photos))
    done = CliRunner().invoke(app, ["spaces", "check", str(space)])
    assert done.exit_code == 0, done.output
    assert "images: train 24 (" in done.output
    assert done.output.count("warning:") == 1
    assert "validation 4, confirm 4, test 8; a share is uncertain by 50 points there" in done.output


def test_missing_classes_are_named() -> None:
    counts = [SplitCount("test", 200, {"cat": 200, "dog": 0}), SplitCount("train", 9)]
    assert census_warning(counts) == "no image of dog in test, which says nothing about them"
    many = SplitCount("test", 200, dict.fromkeys("abcdefghijk", 0) | {"l": 200})
    assert census_warning([many]).startswith("no image of a, b, c and 8 more in test")
    assert census_text([many]) == "images: test 200 (12 classes, 0 to 200 each)"


def test_enough_images_are_no_warning() -> None:
    assert census_warning([SplitCount("train", 10), SplitCount("test", 100)]) == ""
    unknown = [SplitCount("test", None)]
    assert census_text(unknown) == census_warning(unknown) == ""


def test_a_confirm_stage_that_cannot_tell_is_said_before_it_runs() -> None:
    def told(confirm: str) -> str:
        arguments = ["spaces", "check", "quickstart", "--fix", f"search.confirm={confirm}"]
        return CliRunner().invoke(app, arguments).output

    words = "warning: search.confirm will give no verdict"
    assert words not in told("{seeds: 3, images: 30}")
    for confirm in ("{seeds: 2}", "{images: 29}", "{suite: none}"):
        assert words in told(confirm)
