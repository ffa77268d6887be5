"""Records as plain data: in checkpoints, and as text between processes."""

import base64
from collections.abc import Mapping
from typing import Any, TypeVar

import pyarrow as pa

from taskgroup.errors import DataError
from taskgroup.results.records.base import Record
from taskgroup.results.records.columns import Column, columns_of

EXTRA = "extra"

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
        DataError: A column that has no default is missing or null.
    """
    fields = {}
    for column in columns_of(record):
        value = values.get(column.name)
        if value is not None or (column.is_optional and column.name in values):
            fields[column.field.name] = _value(column, value, source)
        elif column.is_required:
            raise DataError(f"{source} must have {column.name}, but it is missing; start again")
    return record(**fields, extra=_from_text(values[EXTRA]) if EXTRA in values else {})


def _plain(column: Column, record: Record) -> Any:
    value = getattr(record, column.field.name)
    if column.record is not None:
        return [to_plain(row) for row in value]
    if column.collect is dict:
        return dict(value)
    return list(value) if column.collect is tuple else value


def _value(column: Column, value: Any, source: str) -> Any:
    if column.record is not None:
        return tuple(from_plain(column.record, row, source=source) for row in value)
    return value if value is None or column.collect is None else column.collect(value)


def _to_text(extra: Mapping[str, pa.Scalar]) -> str:
    """Columns with their types: one row of an Arrow stream."""
    columns = {
        name: pa.array([cell if cell.is_valid else None], cell.type) for name, cell in extra.items()
    }
    batch, sink = pa.record_batch(columns), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write(batch)
    return base64.b64encode(sink.getvalue()).decode()


def _from_text(text: str) -> dict[str, pa.Scalar]:
    row = pa.ipc.open_stream(base64.b64decode(text)).read_next_batch()
    return {name: row.column(name)[0] for name in row.schema.names}
