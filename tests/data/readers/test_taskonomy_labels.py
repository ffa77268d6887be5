"""Label maps that nobody drew: invalid all over, and named once."""

from pathlib import Path

import pytest

from taskgroup.data.base import SPLITS, DatasetConfig, parse_dataset


@pytest.fixture
def folder(taskonomy_root: Path) -> Path:
    return taskonomy_root / "taskonomy"


def section(root: Path) -> DatasetConfig:
    return parse_dataset({"name": "taskonomy", "root": str(root)})


def read_everything(config: DatasetConfig, *tasks: str) -> int:
    """Pictures with a valid pixel for every task, over all splits."""
    labelled = 0
    for split in SPLITS:
        dataset = config.open(split, tasks)
        targets = dataset.batch(range(len(dataset))).targets
        labelled += sum(bool(targets[tasks[0]].valid[row].any()) for row in range(len(dataset)))
    return labelled


def test_maps_that_are_missing_or_tiny_are_counted_and_named_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = folder / "segment_semantic"
    first = labels / "beach" / "point_40_view_0_domain_segmentsemantic.png"
    first.unlink()
    for path in (labels / "cave").iterdir():
        path.write_bytes(b"\x89PNG")
    config = section(folder)
    assert read_everything(config, "segmentation") == 5
    config.tasks()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    message = record.getMessage()
    assert message.startswith("3 of 8 label maps are missing or below 100 bytes")
    assert f"the first is {first};" in message
    assert "neither in the loss nor in the score of segmentation" in message


def test_a_complete_data_set_warns_of_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = section(folder)
    assert set(config.tasks()) >= {"segmentation", "depth"}
    assert read_everything(config, "segmentation", "depth") == 8
    assert not caplog.records
