"""Records as parquet files and back. ``docs/records.md`` tells others what to expect of them.

Each file says in its metadata which record it holds and by which version of the schema. The schema
only grows, so any version is read: what a file lacks takes the field's default, and what it has
besides is kept in ``Record.extra``, in its own type, and written again. Pages carry check sums, and
the metadata that of all columns' content, so that a flipped bit is never read as another value;
files of version 0.1 have none, and are read without.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import accumulate, islice
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from taskgroup.errors import DataError
from taskgroup.results.records.base import Record
from taskgroup.results.records.cells import check_cell, check_row
from taskgroup.results.records.columns import Column, columns_of

SCHEMA_VERSION = 3
"""2: as release 0.1 wrote them; 3: with check sums."""
RECORD_KEY = b"taskgroup.record"
VERSION_KEY = b"taskgroup.schema_version"
DIGEST_KEY = b"taskgroup.sha256"

_INTEGERS = frozenset({pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(),
                       pa.uint32(), pa.uint64()})  # fmt: skip
_TEXTS = frozenset({pa.string(), pa.large_string()})
_SAFE = {
    pa.int32(): _INTEGERS,
    pa.int64(): _INTEGERS,
    pa.float64(): _INTEGERS | {pa.float16(), pa.float32(), pa.float64()},
    pa.string(): _TEXTS,
    pa.binary(): frozenset({pa.binary(), pa.large_binary()}),
}
"""Types that convert to a column's own, where the value fits."""

R = TypeVar("R", bound=Record)


def schema_of(record: type[Record]) -> pa.Schema:
    """The columns of a record, with the metadata that name it and the version."""
    columns = [(column.name, column.type) for column in columns_of(record)]
    return pa.schema(columns, metadata=_metadata(record))


def to_table(record: type[R], rows: Sequence[R]) -> pa.Table:
    """Records as a table of one row each, with every column that one of them has.

    Raises:
        DataError: A column that this version does not know has types that have nothing in common.
    """
    return pa.table(_arrays(record, rows)).replace_schema_metadata(_metadata(record))


def encode(record: type[R], rows: Sequence[R]) -> bytes:
    """Records as the bytes of a parquet file."""
    sink = pa.BufferOutputStream()
    table = to_table(record, rows)
    table = table.replace_schema_metadata({**table.schema.metadata, DIGEST_KEY: _digest(table)})
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue())


def decode(record: type[R], content: bytes, *, source: str) -> list[R]:
    """The records of a parquet file, whichever version wrote it.

    Args:
        record: Class of the records.
        content: The bytes of the file.
        source: The file's name, for messages.

    Raises:
        DataError: One line naming the file, and the column where it is one: the file is torn or
            foreign, or lacks a column that has no default, or a column holds something else, such
            as a word that is none of its choices or a number out of its range.
    """
    try:
        return _decoded(record, content, source)
    except DataError as error:
        again = f", then make it again: {record.made_by}" if record.made_by else ""
        raise DataError(f"{error}{again}") from None


def version_of(content: bytes) -> int:
    """The version of the schema that a file was written by; 0 where it says none.

    Args:
        content: The bytes of a parquet file that ``decode`` has read.
    """
    metadata = pq.read_schema(pa.BufferReader(content)).metadata or {}
    return int(metadata.get(VERSION_KEY, 0))


def _decoded(record: type[R], content: bytes, source: str) -> list[R]:
    """As ``decode``; each message ends with the advice to move the file away."""
    wanted = f"{source} must be a parquet file of taskgroup {record.stored_as} records"
    try:
        file = pq.ParquetFile(
            pa.BufferReader(content), pre_buffer=False, page_checksum_verification=True
        )
        table = file.read(use_threads=False)
        metadata = table.schema.metadata or {}
        is_intact = metadata.get(DIGEST_KEY) in (None, _digest(table))
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        problem = " ".join(str(error).split())[:120]
        raise DataError(f"{wanted}, but it is damaged ({problem}); move it away") from None
    if metadata.get(RECORD_KEY) != record.stored_as.encode():
        raise DataError(f"{wanted}, but another program or record wrote it; move it away")
    if not is_intact:
        raise DataError(
            f"{wanted}, but it is damaged (its columns do not have the check sum that they were "
            "written with); move it away"
        )
    rows: list[R] = []
    for batch in table.to_batches():
        arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
        rows += _records(record, arrays, batch.num_rows, f"{source}: column ")
    return rows


def _metadata(record: type[Record]) -> dict[bytes, bytes]:
    return {RECORD_KEY: record.stored_as.encode(), VERSION_KEY: str(SCHEMA_VERSION).encode()}


def _digest(table: pa.Table) -> bytes:
    """SHA-256 of the names and values of all columns, in hexadecimal digits."""
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(repr((name, column.to_pylist())).encode())
    return digest.hexdigest().encode()


def _arrays(record: type[Record], rows: Sequence[Record]) -> dict[str, pa.Array]:
    """Records as arrays by column."""
    arrays = {
        column.name: _array(column, [getattr(row, column.field.name) for row in rows])
        for column in columns_of(record)
    }
    for name in dict.fromkeys(name for row in rows for name in row.extra):
        arrays[name] = _extra_array(name, [row.extra.get(name) for row in rows])
    return arrays


def _array(column: Column, values: list[Any]) -> pa.Array:
    if column.record is not None:
        members = _arrays(column.record, [row for value in values for row in value])
        structs = pa.StructArray.from_arrays(list(members.values()), names=list(members))
        ends = accumulate((len(value) for value in values), initial=0)
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), structs)
    if column.is_json:
        values = [json.dumps(value) for value in values]
    elif column.collect is dict:
        values = [None if value is None else list(value.items()) for value in values]
    return pa.array(values, column.type)


def _extra_array(name: str, cells: list[pa.Scalar | None]) -> pa.Array:
    """The cells of a column that this version does not know; None where a record lacks it."""
    found = {cell.type for cell in cells if cell is not None}
    values = [cell if cell is not None and cell.is_valid else None for cell in cells]
    if len(found) == 1:
        return pa.array(values, found.pop())
    schemas = [pa.schema([(name, kind)]) for kind in found]
    try:
        common = pa.unify_schemas(schemas, promote_options="permissive").field(name).type
    except pa.ArrowTypeError as error:
        raise DataError(f"column {name!r} must have one type in all files: {error}") from None
    return pa.array([None if value is None else value.as_py() for value in values], common)


def _records(record: type[R], arrays: Mapping[str, pa.Array], count: int, where: str) -> list[R]:
    """Arrays of ``count`` rows as records; ``where`` stands before a column's name in messages."""
    columns = columns_of(record)
    values = [_values(column, arrays.get(column.name), count, where) for column in columns]
    known = {column.name for column in columns}
    extra = {name: array for name, array in arrays.items() if name not in known}
    rows = [
        record(*row, extra={name: array[position] for name, array in extra.items()})
        for position, row in enumerate(zip(*values, strict=True))
    ]
    for row in rows:
        check_row(row, where, then="move the file away")
    return rows


def _values(column: Column, array: pa.Array | None, count: int, where: str) -> list[Any]:
    """The values of one field."""
    name = f"{where}{column.name}"
    if array is None:
        if column.is_required and count:
            raise DataError(f"{name} must be in the file, but is missing; move the file away")
        return [column.default() for _ in range(count)]
    if types.is_null(array.type):
        return [_null(column, name) for _ in range(count)]
    if column.record is not None:
        return _lists_of_records(column, column.record, array, name)
    cells: list[Any] = _converted(column, array, name).to_pylist()
    for cell in cells if column.choices or column.range else ():
        check_cell(column, cell, name)
    if column.collect is None and not array.null_count:
        return cells
    return [_null(column, name) if cell is None else _value(column, cell, name) for cell in cells]


def _null(column: Column, name: str) -> Any:
    """What null stands for: None where that is a value, else the default.

    A record in which an older version wrote a few epochs has nulls in the members that it did not
    know.
    """
    if column.is_optional:
        return None
    if column.is_required:
        raise DataError(f"{name} must not be null, but is; move the file away")
    return column.default()


def _value(column: Column, cell: Any, name: str) -> Any:
    """A cell that is not null as the value of a field."""
    if column.collect is None:
        return cell
    if column.is_json:
        return _keys(cell, name)
    value = column.collect(cell)
    if None in (value.values() if isinstance(value, dict) else value):
        raise DataError(f"{name} must hold no null, but does; move the file away")
    if len(value) != len(cell):
        raise DataError(f"{name} must hold each key once, but does not; move the file away")
    return value


def _keys(cell: str, name: str) -> dict[str, Any]:
    """The keys and values of a cell of JSON text."""
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} must hold JSON of keys: {error}; move the file away") from None
    if not isinstance(value, dict):
        raise DataError(f"{name} must hold JSON of keys, but has {value!r:.40}; move the file away")
    return value


def _lists_of_records(
    column: Column, record: type[Record], array: pa.Array, name: str
) -> list[tuple[Record, ...]]:
    """A list of structs as tuples of records."""
    if not _is_list(array.type) or not types.is_struct(array.type.value_type):
        raise DataError(f"{name} must be a list of structs, but is {array.type}; move it away")
    structs = array.flatten()
    members = dict(zip((entry.name for entry in structs.type), structs.flatten(), strict=True))
    found = iter(_records(record, members, len(structs), f"{name}."))
    lengths = pc.list_value_length(array).to_pylist()
    return [_null(column, name) if n is None else tuple(islice(found, n)) for n in lengths]


def _converted(column: Column, array: pa.Array, name: str) -> pa.Array:
    """An array in its column's type, where that changes no value."""
    if array.type == column.type:
        return array
    problem = ""
    if _converts(array.type, column.type):
        try:
            return array.cast(column.type)
        except pa.ArrowException as error:
            problem = f" ({error})"
    raise DataError(f"{name} must be {column.type}, but is {array.type}{problem}; move it away")


def _converts(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of a type mean the same in another one, if they fit."""
    if types.is_dictionary(found):
        return _converts(found.value_type, wanted)
    if _is_list(found) and _is_list(wanted):
        return _converts(found.value_type, wanted.value_type)
    if types.is_map(found) and types.is_map(wanted):
        parts = ((found.key_type, wanted.key_type), (found.item_type, wanted.item_type))
        return all(_converts(*part) for part in parts)
    return found in _SAFE.get(wanted, ())


def _is_list(kind: pa.DataType) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind))
