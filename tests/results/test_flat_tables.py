"""Records as flat tables: one column per key, whatever the rows have in common."""

import sys
from dataclasses import replace

import pytest

from taskgroup.errors import ConfigError
from taskgroup.results.flat_tables import epochs_table, to_pandas, trials_table
from taskgroup.results.records import EpochRow, TrialResult

TRIAL = TrialResult(
    number=0, label="segmentation+depth", role="searched", config={},
    parameters={"adversary.epsilon": 4 / 255, "auxiliary_tasks": ["depth"]},
    main_task="segmentation", auxiliary_tasks=("depth",), output_dimension=1, status="complete",
    epochs=(
        EpochRow(1, {"segmentation/clean/miou": 0.5}, 2.5, 123),
        EpochRow(2, {"segmentation/clean/miou": 0.625, "segmentation/robust/miou": 0.25}, 2, 124),
    ),
)  # fmt: skip
BARE = replace(TRIAL, number=1, parameters={"adversary.epsilon": "none"}, epochs=())


def test_a_trial_is_a_row_with_drawn_values_and_last_scores() -> None:
    table = trials_table([TRIAL, BARE])
    assert table["number"].to_pylist() == [0, 1]
    assert table["segmentation/robust/miou"].to_pylist() == [0.25, None]
    assert table["segmentation/clean/miou"].to_pylist() == [0.625, None]
    assert table["adversary.epsilon"].to_pylist() == [repr(4 / 255), '"none"'], "mixed: JSON"
    assert table["auxiliary_tasks"].to_pylist() == [["depth"], ["depth"]]


def test_an_epoch_is_a_row() -> None:
    table = epochs_table([TRIAL, BARE])
    assert table["epoch"].to_pylist() == [1, 2]
    assert table["seconds"].to_pylist() == [2.5, 2.0]
    assert table["segmentation/robust/miou"].to_pylist() == [None, 0.25]


def test_no_trials_are_an_empty_table_with_columns() -> None:
    assert trials_table([]).num_rows == 0
    assert {"number", "label", "checkpoint"} <= set(trials_table([]).column_names)


def test_a_table_becomes_a_data_frame() -> None:
    frame = to_pandas(trials_table([TRIAL]))
    assert list(frame["segmentation/clean/miou"]) == [0.625]


def test_data_frames_need_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"needs pandas.*pip install pandas, or use \.table"):
        to_pandas(trials_table([TRIAL]))
