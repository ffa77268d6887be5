"""What one cell and one row of a record may hold, whatever they are read from."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
from pyarrow import types

from taskgroup.errors import DataError
from taskgroup.results.records.base import Record
from taskgroup.results.records.columns import Column


def check_cell(column: Column, cell: Any, name: str, *, then: str = "move the file away") -> None:
    """Check a cell of the column's type against its choices and its range.

    Args:
        column: The column.
        cell: The cell, None where it is null; a map may be a list of pairs.
        name: The column's name, with where it lies.
        then: What to do, as the end of the message.

    Raises:
        DataError: It is a word that nothing in this version knows what to do with, or a number that
            cannot be.
    """
    if cell is None:
        return
    if column.choices and cell not in column.choices:
        raise DataError(
            f"{name} must be one of: {', '.join(column.choices)}; got {cell!r:.40}; read it with "
            f"the release that wrote it, or {then}"
        )
    if column.range is None:
        return
    for number in _numbers(column, cell):
        if number is not None and number not in column.range:
            raise DataError(f"{name} must {column.range}, but is {number!r:.40}; {then}")


def check_row(row: Record, where: str, *, then: str) -> None:
    """Check a record as a whole.

    Args:
        row: The record.
        where: Stands before the column's name in the message.
        then: What to do, as its end.

    Raises:
        DataError: Something in it cannot be.
    """
    try:
        row.check()
    except DataError as error:
        raise DataError(f"{where}{error}; {then}") from None


def _numbers(column: Column, cell: Any) -> Iterable[Any]:
    """The numbers of a cell, of a list or of a map."""
    if column.collect is dict:
        pairs = cell.items() if isinstance(cell, Mapping) else cell
        return [value for _, value in pairs]
    return cell if column.collect is tuple else [cell]


def is_of_type(value: Any, kind: pa.DataType) -> bool:
    """Whether a plain value, which may be null, has the type of a column."""
    if value is None:
        return True
    if types.is_list(kind):
        return isinstance(value, list | tuple) and all(
            inner is not None and is_of_type(inner, kind.value_type) for inner in value
        )
    if types.is_map(kind):
        return isinstance(value, Mapping) and all(
            isinstance(key, str) and inner is not None and is_of_type(inner, kind.item_type)
            for key, inner in value.items()
        )
    if types.is_integer(kind):
        most = 2 ** (kind.bit_width - 1)
        return type(value) is int and -most <= value < most
    if types.is_floating(kind):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, _KINDS[kind])


_KINDS: Mapping[pa.DataType, type] = {pa.bool_(): bool, pa.string(): str, pa.binary(): bytes}
