"""Numbered files of records: later rows stand for earlier ones about the same."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from taskgroup.errors import DataError
from taskgroup.results.record_files import (
    DIMENSIONS,
    EVALUATIONS,
    PANELS,
    TASK_GRADIENTS,
    TRANSFERS,
    WORST_CASES,
    RecordFolder,
    read_records,
    write_records,
)
from taskgroup.results.records import EvaluationRow, TransferRow
from taskgroup.results.records.columns import columns_of
from taskgroup.results.storage.base import Storage, open_storage

ROW = TransferRow(
    0, "a", 1, "b", "pgd", "linf", 0.1, 2, 1, "depth", "rmse", "minimize", 0.5, 0.4, 0.6, 8, 0
)  # fmt: skip
BY_TARGET = RecordFolder("transfers", TransferRow, ("target", "target_label"))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path)


def test_a_file_holds_what_was_written(storage: Storage, left_out: Callable[[], list[str]]) -> None:
    rows = [ROW, replace(ROW, score=0.25)]
    write_records(storage, "shards/x.parquet", TransferRow, rows)
    assert read_records(storage, "shards/x.parquet", TransferRow) == rows
    assert read_records(storage, "shards/x.parquet", EvaluationRow) is None
    (problem,) = left_out()
    assert "shards/x.parquet must be a parquet file of taskgroup evaluation records, but" in problem
    with pytest.raises(DataError, match=r"shards/y\.parquet must be readable"):
        read_records(storage, "shards/y.parquet", TransferRow)


def test_an_empty_folder_has_no_rows(storage: Storage) -> None:
    assert BY_TARGET.latest(storage) == []
    assert TRANSFERS.latest(storage) == []


def test_later_rows_stand_for_all_earlier_ones_about_the_same(storage: Storage) -> None:
    other = replace(ROW, target=2)
    BY_TARGET.write(storage, [ROW, replace(ROW, score=0.25), other])
    BY_TARGET.write(storage, [replace(ROW, score=0.125)])
    assert BY_TARGET.latest(storage) == [replace(ROW, score=0.125), other]


def test_without_a_key_the_last_file_that_can_be_read_counts(
    storage: Storage, left_out: Callable[[], list[str]]
) -> None:
    storage.write("transfers/0001-torn.parquet", b"PAR1")
    TRANSFERS.write(storage, [replace(ROW, source=3), replace(ROW, source=4)])
    storage.write("transfers/0003-torn.parquet", b"PAR1")
    assert [row.source for row in TRANSFERS.latest(storage)] == [3, 4]
    assert [name in said for name, said in zip(("0001", "0003"), left_out(), strict=True)]


def test_a_damaged_file_leaves_the_others_and_is_named_once(
    storage: Storage, left_out: Callable[[], list[str]]
) -> None:
    BY_TARGET.write(storage, [ROW], base="0001-a.parquet")
    BY_TARGET.write(storage, [replace(ROW, score=0.125)], base="0002-b.parquet")
    whole = storage.read(f"{BY_TARGET.folder}/0002-b.parquet")
    storage.write(f"{BY_TARGET.folder}/0002-b.parquet", whole[:-9])
    for _ in range(2):
        assert BY_TARGET.latest(storage) == [ROW]
    assert len(left_out()) == 1


def test_files_are_numbered_after_the_highest_and_never_share_a_name(storage: Storage) -> None:
    first = TRANSFERS.next_base(storage)
    assert first.startswith("0001-")
    assert first != TRANSFERS.next_base(storage)
    TRANSFERS.write(storage, [ROW], base="0041-x.parquet")
    TRANSFERS.write(storage, [ROW], base="copy.parquet")
    assert TRANSFERS.next_base(storage).startswith("0042-")


@pytest.mark.parametrize(
    "folder",
    [EVALUATIONS, PANELS, WORST_CASES, TRANSFERS, DIMENSIONS, TASK_GRADIENTS],
    ids=lambda folder: folder.folder,
)
def test_keys_are_fields(folder: RecordFolder) -> None:  # type: ignore[type-arg]
    names = {column.field.name for column in columns_of(folder.record)}
    assert set(folder.key) <= names
