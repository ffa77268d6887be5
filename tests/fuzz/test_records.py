"""Damaged records and shards: read as they were, or refused by one line; never as other values."""

import random
import tarfile
from functools import partial
from pathlib import Path

import pytest

from taskgroup.results.records import (
    DimensionRow,
    EvaluationRow,
    ImageRow,
    Panel,
    TaskGradientRow,
    TransferRow,
    TrialResult,
)
from taskgroup.results.records.codec import decode, encode

pytestmark = pytest.mark.slow
RECORDS = {
    "trials": TrialResult,
    "evaluations": EvaluationRow,
    "worst_case": ImageRow,
    "shards": ImageRow,
    "panels": Panel,
    "dimension": DimensionRow,
    "task_gradients": TaskGradientRow,
    "transfers": TransferRow,
}
FAULTS = 3000
ARCHIVE = Path(__file__).parents[1] / "version_0_1" / "runs.tar.xz"


def record_of(name):
    folder, file = name.split("/")[-2:]
    return Panel if file.endswith(".panels") else RECORDS[folder]


@pytest.fixture(scope="module")
def files():
    """Content of every file of records that 0.1 left, by name, without check sums."""
    with tarfile.open(ARCHIVE) as archive:
        return {
            member.name: archive.extractfile(member).read()
            for member in archive
            if member.name.endswith((".parquet", ".panels"))
        }


def test_a_damaged_record_is_never_read_as_another(files, spoiled, read_or_refused, tally):
    chance = random.Random(0)
    known = {}
    for name, content in files.items():
        record = record_of(name)
        rows = decode(record, content, source=name)
        known[name] = (record, encode(record, rows), repr(rows))
    for _ in range(FAULTS):
        name = chance.choice(sorted(known))
        record, content, before = known[name]
        damaged = spoiled(content, chance)
        after = read_or_refused(partial(decode, record, damaged, source=name), name)
        tally["damaged records", "refused" if after is None else "read as they were"] += 1
        assert after is None or repr(after) == before


def test_a_damaged_record_without_check_sums_is_no_traceback(
    files, spoiled, read_or_refused, tally
):
    chance = random.Random(1)
    for _ in range(FAULTS):
        name = chance.choice(sorted(files))
        damaged = spoiled(files[name], chance)
        after = read_or_refused(partial(decode, record_of(name), damaged, source=name), name)
        tally["damaged records of 0.1", "refused" if after is None else "read"] += 1
