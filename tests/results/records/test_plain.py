"""Records as plain data, in this version and in another one."""

import json
from collections.abc import Callable
from random import Random

import pyarrow as pa
import pytest

from taskgroup.errors import DataError
from taskgroup.results.records import EpochRow, Record, TrialResult
from taskgroup.results.records.plain import from_plain, to_plain

Make = Callable[[type[Record], Random], Record]
ROW = EpochRow(1, {"a/clean/miou": 0.5}, 2.0, 3)


@pytest.mark.parametrize("seed", range(10))
def test_records_come_back_as_they_were(record: type[Record], make: Make, seed: int) -> None:
    row = make(record, Random(seed))
    assert from_plain(record, to_plain(row)) == row


@pytest.mark.parametrize("seed", range(10))
def test_trials_survive_json(make: Make, seed: int) -> None:
    row = make(TrialResult, Random(seed))
    assert from_plain(TrialResult, json.loads(json.dumps(to_plain(row)))) == row


def test_a_plain_row_is_what_checkpoints_of_0_1_hold() -> None:
    assert to_plain(ROW) == {
        "epoch": 1,
        "metrics": {"a/clean/miou": 0.5},
        "seconds": 2.0,
        "peak_memory": 3,
    }


def test_what_another_version_wrote_travels_with_its_types() -> None:
    extra = {
        "waited": pa.scalar(0.5, pa.float32()),
        "none": pa.scalar(None, pa.int16()),
        "shares": pa.scalar([("a", 1.0)], pa.map_(pa.string(), pa.float64())),
        "names": pa.array(["x"]).dictionary_encode()[0],
    }
    row = EpochRow(1, {}, 2.0, 3, extra=extra)
    found = from_plain(EpochRow, json.loads(json.dumps(to_plain(row))))
    assert found.extra == extra
    assert [cell.type for cell in found.extra.values()] == [cell.type for cell in extra.values()]


def test_unknown_keys_are_left_out_and_missing_ones_take_the_default() -> None:
    plain = to_plain(ROW)
    assert from_plain(EpochRow, {**plain, "waited": 0.5}) == ROW
    for lacking in ({**plain, "seconds": None}, {k: plain[k] for k in plain if k != "seconds"}):
        with pytest.raises(DataError, match=r"^checkpoint x must have seconds, but"):
            from_plain(EpochRow, lacking, source="checkpoint x")
