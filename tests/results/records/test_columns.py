"""Columns are derived from annotations, and are those of version 0.1."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from taskgroup.results.records import Record
from taskgroup.results.records.base import Amount, Count32
from taskgroup.results.records.codec import schema_of
from taskgroup.results.records.columns import columns_of
from taskgroup.results.records.ranges import Range


def test_files_have_the_columns_of_version_0_1_and_then_others(
    record: type[Record], schemas: dict[str, dict[str, str]]
) -> None:
    found = {entry.name: str(entry.type) for entry in schema_of(record)}
    old = schemas[record.stored_as]
    assert {name: found.get(name) for name in old} == old
    assert list(found)[: len(old)] == list(old)


def test_a_column_that_0_1_did_not_have_has_a_default(
    record: type[Record], schemas: dict[str, dict[str, str]]
) -> None:
    new = [column for column in columns_of(record) if column.name not in schemas[record.stored_as]]
    assert [column.name for column in new if column.is_required] == []


@dataclass(frozen=True)
class Inner(Record):
    count: int
    name: str = ""


@dataclass(frozen=True)
class Outer(Record):
    small: Count32
    share: float | None
    is_good: bool
    content: bytes
    names: tuple[str, ...]
    sizes: tuple[Count32, ...]
    scores: Mapping[str, Amount]
    anything: Mapping[str, Any]
    many: tuple[Inner, ...] = ()
    clear: str | None = field(default=None, metadata={"column": "obscure"})


def test_every_kind_of_annotation_has_its_column() -> None:
    inner = pa.struct([("count", pa.int64()), ("name", pa.string())])
    assert {column.name: column.type for column in columns_of(Outer)} == {
        "small": pa.int32(),
        "share": pa.float64(),
        "is_good": pa.bool_(),
        "content": pa.binary(),
        "names": pa.list_(pa.string()),
        "sizes": pa.list_(pa.int32()),
        "scores": pa.map_(pa.string(), pa.float64()),
        "anything": pa.string(),
        "many": pa.list_(inner),
        "obscure": pa.string(),
    }


def test_a_range_is_that_of_a_number_or_of_those_in_a_list_or_a_map() -> None:
    found = {column.name: column.range for column in columns_of(Outer)}
    assert {name for name, range in found.items() if range is not None} == {
        "small",
        "sizes",
        "scores",
    }
    assert found["small"] == Range(0)


def test_only_a_default_makes_a_column_one_that_a_file_may_lack() -> None:
    columns = {column.name: column for column in columns_of(Outer)}
    assert [name for name, column in columns.items() if not column.is_required] == [
        "many",
        "obscure",
    ]
    assert [name for name, column in columns.items() if column.is_optional] == ["share", "obscure"]
    assert columns["many"].default() == ()


def test_an_annotation_without_a_column_is_our_own_mistake() -> None:
    @dataclass(frozen=True)
    class Wrong(Record):
        when: complex

    with pytest.raises(KeyError, match="complex"):
        columns_of(Wrong)
