"""Records go to parquet and back, whichever version wrote them."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, fields, replace
from random import Random
from typing import Any, Literal, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taskgroup.errors import DataError
from taskgroup.results.records import EpochRow, EvaluationRow, ImageRow, Record, TrialResult
from taskgroup.results.records.codec import (
    DIGEST_KEY,
    VERSION_KEY,
    decode,
    encode,
    schema_of,
    to_table,
)
from taskgroup.results.records.columns import columns_of

Make = Callable[[type[Record], Random], Record]
Stored = Callable[[pa.Table], bytes]
EPOCHS = (
    EpochRow(1, {"segmentation/clean/miou": 0.5}, 2.5, 123),
    EpochRow(2, {"segmentation/clean/miou": 0.625}, 2.0, 124),
)


def trial(**changes: Any) -> TrialResult:
    base = TrialResult(
        0, "a+b", "searched", {"seed": 1}, {}, "a", ("b",), 7, "interrupted", epochs=EPOCHS
    )
    return replace(base, **changes)


def with_column(table: pa.Table, name: str, array: pa.Array) -> pa.Table:
    """A table with one column replaced; its place and its metadata stay."""
    place = table.schema.get_field_index(name)
    changed = table.set_column(place, pa.field(name, array.type), array)
    return changed.replace_schema_metadata(table.schema.metadata)


def with_members(table: pa.Table, **members: pa.Array | None) -> pa.Table:
    """A table of one trial whose epochs have these members besides, or lack them."""
    epochs = table["epochs"].combine_chunks()
    structs = epochs.flatten()
    arrays = dict(zip((f.name for f in structs.type), structs.flatten(), strict=True)) | members
    kept = {name: array for name, array in arrays.items() if array is not None}
    inner = pa.StructArray.from_arrays(list(kept.values()), names=list(kept))
    return with_column(table, "epochs", pa.ListArray.from_arrays(epochs.offsets, inner))


def read(content: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(content))


@pytest.mark.parametrize("seed", range(10))
def test_records_come_back_as_they_were(record: type[Record], make: Make, seed: int) -> None:
    random = Random(seed)
    rows = [make(record, random) for _ in range(random.randint(0, 4))]
    content = encode(record, rows)
    assert decode(record, content, source="x") == rows
    found, expected = read(content).schema, schema_of(record)
    assert found == expected
    metadata = dict(found.metadata)
    assert len(metadata.pop(DIGEST_KEY)) == 64
    assert metadata == expected.metadata


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_is_never_read_as_another_value(
    record: type[Record], make: Make, seed: int
) -> None:
    random = Random(seed)
    rows = [make(record, random) for _ in range(3)]
    content = encode(record, rows)
    for bit in random.sample(range(8 * len(content)), 40):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        with suppress(DataError):
            assert repr(decode(record, bytes(changed), source="x")) == repr(rows)


def test_values_changed_behind_the_check_sum_are_refused(record: type[Record], make: Make) -> None:
    rows = [make(record, Random(seed)) for seed in range(2)]
    other = pq.ParquetFile(pa.BufferReader(encode(record, rows[::-1]))).read()
    kept = read(encode(record, rows)).schema.metadata
    sink = pa.BufferOutputStream()
    pq.write_table(other.replace_schema_metadata(kept), sink)
    with pytest.raises(DataError, match=r"do not have the check sum that they were written with"):
        decode(record, bytes(sink.getvalue()), source="x")


def test_a_missing_column_takes_the_default_or_is_named(
    record: type[Record], make: Make, stored: Stored
) -> None:
    row = make(record, Random(1))
    table = to_table(record, [row])
    for entry in fields(record):
        name = entry.metadata.get("column", entry.name)
        if name == "extra":
            continue
        lacking = stored(table.drop_columns([name]))
        if entry.default is MISSING and entry.default_factory is MISSING:
            with pytest.raises(DataError, match=rf"^runs/x: column {name} must be in the file"):
                decode(record, lacking, source="runs/x")
            continue
        default = entry.default if entry.default is not MISSING else entry.default_factory()  # type: ignore[misc]
        (found,) = decode(record, lacking, source="runs/x")
        assert found == replace(row, **{entry.name: default})


def test_a_null_is_none_a_default_or_is_named(
    record: type[Record], make: Make, stored: Stored
) -> None:
    row = make(record, Random(1))
    table = to_table(record, [row])
    for entry in fields(record):
        name = entry.metadata.get("column", entry.name)
        if name == "extra":
            continue
        content = stored(with_column(table, name, pa.nulls(1, table[name].type)))
        if "None" in str(entry.type):
            (found,) = decode(record, content, source="runs/x")
            assert getattr(found, entry.name) is None
        elif entry.default is MISSING and entry.default_factory is MISSING:
            with pytest.raises(DataError, match=rf"^runs/x: column {name} must not be null"):
                decode(record, content, source="runs/x")
        else:
            default = entry.default if entry.default is not MISSING else entry.default_factory()  # type: ignore[misc]
            (found,) = decode(record, content, source="runs/x")
            assert getattr(found, entry.name) == default


def test_a_null_inside_a_list_or_a_map_is_named(stored: Stored) -> None:
    table = to_table(TrialResult, [trial()])
    for name, value in {"auxiliary_tasks": ["b", None], "fidelity": [("epochs", None)]}.items():
        content = stored(with_column(table, name, pa.array([value], table[name].type)))
        with pytest.raises(DataError, match=f"column {name} must hold no null"):
            decode(TrialResult, content, source="x")


EXTRA = {
    "wide": pa.array([3], pa.int16()),
    "text": pa.array(["x"], pa.large_string()),
    "named": pa.array(["x"]).dictionary_encode(),
    "unknown": pa.array([None], pa.float32()),
    "when": pa.array([7], pa.timestamp("us", tz="UTC")),
    "shares": pa.array([[("depth", 0.5)]], pa.map_(pa.string(), pa.float64())),
    "nested": pa.array([[{"a": 1, "b": ["c"]}, {"a": None, "b": None}]]),
}


@pytest.fixture
def newer(stored: Stored) -> bytes:
    """A trial of a later version: more columns, and more members of its epochs."""
    table = with_members(
        to_table(TrialResult, [trial()]),
        waited=pa.array([0.25, None]),
        shares=pa.array([[("a", 1.0)], None], pa.map_(pa.string(), pa.float64())),
    )
    for name, array in EXTRA.items():
        table = table.append_column(name, array)
    return stored(table)


def test_what_a_later_version_wrote_is_left_out_of_the_record_but_kept(newer: bytes) -> None:
    (found,) = decode(TrialResult, newer, source="x")
    assert found == trial()
    assert "wide" not in repr(found)
    more = replace(found, status="complete", epochs=(*found.epochs, EpochRow(3, {}, 1.0, 2)))
    before, after = read(newer), read(encode(TrialResult, [more]))
    assert list(after.column_names) == list(before.column_names)
    for name in EXTRA:
        assert after[name].equals(before[name]), name
    kept, old = after["epochs"].to_pylist()[0], before["epochs"].to_pylist()[0]
    assert after.schema.field("epochs").type == before.schema.field("epochs").type
    assert kept[:2] == old
    assert (kept[2]["waited"], kept[2]["shares"]) == (None, None)
    assert after["status"].to_pylist() == ["complete"]


def test_a_record_written_again_by_two_versions_reads_like_the_first(newer: bytes) -> None:
    (once,) = decode(TrialResult, newer, source="x")
    content = encode(TrialResult, [once])
    (twice,) = decode(TrialResult, content, source="x")
    assert twice.extra == once.extra
    assert [row.extra for row in twice.epochs] == [row.extra for row in once.epochs]
    assert encode(TrialResult, [twice]) == content


@pytest.mark.parametrize("version", ["1", "99", None])
def test_any_version_is_read(stored: Stored, version: str | None) -> None:
    table = to_table(TrialResult, [trial()])
    metadata = {key: value for key, value in table.schema.metadata.items() if key != VERSION_KEY}
    if version is not None:
        metadata[VERSION_KEY] = version.encode()
    content = stored(table.replace_schema_metadata(metadata))
    assert decode(TrialResult, content, source="x") == [trial()]


LARGE = pa.large_list(pa.large_string())
STRINGS = pa.map_(pa.large_string(), pa.float32())


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("number", pa.array([0], pa.int64())),
        ("number", pa.array([0], pa.uint8())),
        ("seed", pa.array([0], pa.int32())),
        ("seconds", pa.array([0.0], pa.float32())),
        ("seconds", pa.array([0], pa.int32())),
        ("label", pa.array(["a+b"]).dictionary_encode()),
        ("label", pa.array(["a+b"], pa.large_string())),
        ("config", pa.array(['{"seed": 1}'], pa.large_string())),
        ("auxiliary_tasks", pa.array([["b"]], LARGE)),
        ("fidelity", pa.array([[]], STRINGS)),
        ("reason", pa.nulls(1)),
        ("checkpoint", pa.array([None]).cast(pa.large_string())),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.type),
)
def test_a_column_of_a_like_type_means_the_same(name: str, array: pa.Array, stored: Stored) -> None:
    table = with_column(to_table(TrialResult, [trial()]), name, array)
    (found,) = decode(TrialResult, stored(table), source="x")
    assert found == trial()
    assert type(getattr(found, name)) is type(getattr(trial(), name))


def test_epochs_of_like_types_mean_the_same(stored: Stored) -> None:
    table = with_members(
        to_table(TrialResult, [trial()]),
        epoch=pa.array([1, 2], pa.int64()),
        peak_memory=pa.array([123, 124], pa.int32()),
    )
    epochs = table["epochs"].combine_chunks()
    large = pa.LargeListArray.from_arrays(epochs.offsets.cast(pa.int64()), epochs.flatten())
    for changed in (table, with_column(table, "epochs", large)):
        assert decode(TrialResult, stored(changed), source="x") == [trial()]


@pytest.mark.parametrize(
    ("name", "array", "problem"),
    [
        ("number", pa.array(["0"]), "must be int32, but is string"),
        ("number", pa.array([2**40]), "must be int32, but is int64 .*2147483647"),
        ("seed", pa.array([2.0]), "must be int64, but is double"),
        ("label", pa.array([3]), "must be string, but is int64"),
        ("auxiliary_tasks", pa.array([[1]]), "must be list<.*string>, but is list<.*int64>"),
        ("config", pa.array(["{"]), "must hold JSON of keys"),
        ("config", pa.array(["[1]"]), "must hold JSON of keys"),
        ("epochs", pa.array([[1]]), "must be a list of structs, but is list"),
        ("epochs", pa.array([1]), "must be a list of structs, but is int64"),
    ],
)
def test_a_column_of_another_type_is_named_in_one_line(
    name: str, array: pa.Array, problem: str, stored: Stored
) -> None:
    table = with_column(to_table(TrialResult, [trial()]), name, array)
    with pytest.raises(DataError, match=rf"^runs/x: column {name} {problem}") as caught:
        decode(TrialResult, stored(table), source="runs/x")
    assert "\n" not in str(caught.value)


def test_a_word_that_is_none_of_a_columns_choices_is_named_with_those(
    record: type[Record], make: Make, stored: Stored
) -> None:
    table = to_table(record, [make(record, Random(1)) for _ in range(2)])
    for column in columns_of(record):
        if get_origin(get_type_hints(record)[column.field.name]) is not Literal:
            assert column.choices == ()
            continue
        words = pa.array([column.choices[0], "weird"])
        known = ", ".join(column.choices)
        for array in (words, words.dictionary_encode()):
            with pytest.raises(DataError) as caught:
                decode(record, stored(with_column(table, column.name, array)), source="runs/x")
            assert str(caught.value).startswith(
                f"runs/x: column {column.name} must be one of: {known}; got 'weird'; read it with "
                "the release that wrote it, or move the file away"
            )


def test_what_is_moved_away_can_be_made_again(
    record: type[Record], make: Make, stored: Stored
) -> None:
    table = to_table(record, [make(record, Random(1))])
    first = columns_of(record)[0].name
    another = table.replace_schema_metadata({})
    null = with_column(table, first, pa.nulls(1, table[first].type))
    for content in (b"torn", stored(another), stored(table.drop_columns([first])), stored(null)):
        with pytest.raises(DataError) as caught:
            decode(record, content, source="runs/x")
        end = f" away, then make it again: {record.made_by}" if record.made_by else " away"
        assert str(caught.value).endswith(end)
    assert (record is TrialResult) == (not record.made_by)


def test_a_member_of_epochs_is_named_with_its_column(stored: Stored) -> None:
    table = to_table(TrialResult, [trial()])
    lacking = stored(with_members(table, metrics=None))
    with pytest.raises(DataError, match=r"column epochs\.metrics must be in the file"):
        decode(TrialResult, lacking, source="x")
    wrong = stored(with_members(table, seconds=pa.array(["a", "b"])))
    with pytest.raises(DataError, match=r"column epochs\.seconds must be double, but is string"):
        decode(TrialResult, wrong, source="x")
    null = stored(with_members(table, seconds=pa.array([1.0, None])))
    with pytest.raises(DataError, match=r"column epochs\.seconds must not be null"):
        decode(TrialResult, null, source="x")


def test_a_trial_without_epochs_needs_no_members(stored: Stored) -> None:
    table = to_table(TrialResult, [trial(epochs=())])
    bare = with_members(table, metrics=None, seconds=None)
    assert decode(TrialResult, stored(bare), source="x") == [trial(epochs=())]


def test_a_table_has_every_column_of_its_records(newer: bytes) -> None:
    (later,) = decode(TrialResult, newer, source="x")
    table = to_table(TrialResult, [trial(number=1), later])
    assert table["wide"].to_pylist() == [None, 3]
    assert table["wide"].type == pa.int16()
    assert [row["waited"] for rows in table["epochs"].to_pylist() for row in rows] == [
        None, None, 0.25, None
    ]  # fmt: skip


def test_an_unknown_column_of_two_types_has_the_wider_one_or_is_named() -> None:
    narrow, wide = (trial(extra={"x": pa.scalar(1, kind)}) for kind in (pa.int16(), pa.int64()))
    assert to_table(TrialResult, [narrow, wide])["x"].type == pa.int64()
    text = trial(extra={"x": pa.scalar("a")})
    with pytest.raises(DataError, match="column 'x' must have one type in all files"):
        to_table(TrialResult, [narrow, text])


def test_files_of_many_row_groups_are_read_whole() -> None:
    rows = [
        EvaluationRow(n, "a", "other", "clean", (), "linf", 0.0, 0, 0, "a", "miou", "maximize",
                      n / 9, 0.0, 1.0, 3, 0, "ok", 1.0)
        for n in range(9)
    ]  # fmt: skip
    sink = pa.BufferOutputStream()
    pq.write_table(to_table(EvaluationRow, rows), sink, row_group_size=2)
    assert decode(EvaluationRow, bytes(sink.getvalue()), source="x") == rows


def test_a_field_may_be_stored_under_another_name(make: Make) -> None:
    row = make(ImageRow, Random(0))
    assert isinstance(row, ImageRow)
    table = to_table(ImageRow, [row])
    assert table["judged"].to_pylist() == [row.scored_trial]
    assert "scored_trial" not in table.column_names


def test_configurations_are_json_text() -> None:
    config = {"a": {"b": [1, None, "ü"]}}
    (text,) = to_table(TrialResult, [trial(config=config)])["config"].to_pylist()
    assert json.loads(text) == config
