"""Records as plain data: in checkpoints, and as text between processes."""

import base64
from collections.abc import Mapping
from typing import Any, TypeVar

import pyarrow as pa

from taskgroup.errors import DataError
from taskgroup.results.records.base import Record
from taskgroup.results.records.cells import check_cell, check_row, is_of_type
from taskgroup.results.records.columns import Column, columns_of

EXTRA = "extra"
AGAIN = "start again"
"""What to do about a row that is none."""

R = TypeVar("R", bound=Record)


def to_plain(record: Record) -> dict[str, Any]:
    """A record as what JSON holds, by column; what another version wrote becomes one text."""
    plain = {column.name: _plain(column, record) for column in columns_of(type(record))}
    return plain | {EXTRA: _to_text(record.extra)} if record.extra else plain


def from_plain(record: type[R], values: Mapping[str, Any], *, source: str = "a record") -> R:
    """The record that ``to_plain`` wrote, in this version or another one.

    Args:
        record: Class of the record.
        values: Plain data; a column that it lacks takes its default, one too many is left out.
        source: Where it comes from, for messages.

    Raises:
        DataError: It is no record: not a mapping, a column that has no default is missing or null,
            or one holds something else than it may.
    """
    if not isinstance(values, Mapping):
        raise DataError(f"{source} must hold columns by name, but has {_shown(values)}; {AGAIN}")
    fields = {}
    for column in columns_of(record):
        value = values.get(column.name)
        if value is not None or (column.is_optional and column.name in values):
            fields[column.field.name] = _value(column, value, source)
        elif column.is_required:
            raise DataError(f"{source} must have {column.name}, but it is missing; {AGAIN}")
    extra = _from_text(values[EXTRA], source) if EXTRA in values else {}
    found = record(**fields, extra=extra)
    check_row(found, f"{source}: ", then=AGAIN)
    return found


def _plain(column: Column, record: Record) -> Any:
    value = getattr(record, column.field.name)
    if column.record is not None:
        return [to_plain(row) for row in value]
    if column.collect is dict:
        return dict(value)
    return list(value) if column.collect is tuple else value


def _value(column: Column, value: Any, source: str) -> Any:
    if column.record is not None and isinstance(value, list | tuple):
        return tuple(from_plain(column.record, row, source=source) for row in value)
    is_right = isinstance(value, Mapping) if column.is_json else is_of_type(value, column.type)
    if column.record is not None or not is_right:
        raise DataError(
            f"{source} must hold {column.name} as {column.type}, but has {_shown(value)}; {AGAIN}"
        )
    check_cell(column, value, f"{source}: {column.name}", then=AGAIN)
    return value if value is None or column.collect is None else column.collect(value)


def _shown(value: Any) -> str:
    """A value of whatever kind, as the part of a line."""
    return " ".join(repr(value).split())[:40]


def _to_text(extra: Mapping[str, pa.Scalar]) -> str:
    """Columns with their types: one row of an Arrow stream."""
    columns = {
        name: pa.array([cell if cell.is_valid else None], cell.type) for name, cell in extra.items()
    }
    batch, sink = pa.record_batch(columns), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write(batch)
    return base64.b64encode(sink.getvalue()).decode()


def _from_text(text: Any, source: str) -> dict[str, pa.Scalar]:
    try:
        row = pa.ipc.open_stream(base64.b64decode(text)).read_next_batch()
    except (pa.ArrowException, StopIteration, TypeError, ValueError):
        raise DataError(
            f"{source} must hold {EXTRA} as another version wrote it, but it is damaged; {AGAIN}"
        ) from None
    return {name: row.column(name)[0] for name in row.schema.names}
