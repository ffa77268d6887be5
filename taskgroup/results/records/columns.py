"""The columns of a record, derived from its annotations.

=====================  =====================================
annotation             column
=====================  =====================================
``int``                int64
``float``              double
``Annotated``          the type that it names, with its ``Range``
``bool``, ``bytes``    bool, binary
``str``, ``Literal``   string
``X | None``           that of ``X``, which may be null
``tuple[X, ...]``      list of ``X``
``Mapping[str, X]``    map from string to ``X``
``Mapping[str, Any]``  string: JSON, since its keys differ
``tuple[Record, ...]`` list of struct
=====================  =====================================
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

from taskgroup.results.records.base import Record
from taskgroup.results.records.ranges import Range

SCALARS = {
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    str: pa.string(),
    bytes: pa.binary(),
}


@dataclass(frozen=True)
class Column:
    """One field of a record as a column.

    Attributes:
        name: Name of the column.
        field: The field.
        type: Type of the column.
        is_optional: Whether it may be null.
        is_json: Whether a cell is JSON text.
        choices: The texts that it may hold; empty where any value of the type may stand.
        range: The numbers that it, or each number in it, may be; None where any may stand.
        collect: Turns a list of items or pairs into the field's value; None for a plain value.
        record: The record whose list it holds, if it does.
    """

    name: str
    field: "Field[Any]"
    type: pa.DataType
    is_optional: bool = False
    is_json: bool = False
    choices: tuple[str, ...] = ()
    range: Range | None = None
    collect: Callable[[Any], Any] | None = None
    record: type[Record] | None = None

    @property
    def is_required(self) -> bool:
        """Whether a record cannot be made without a value."""
        return self.field.default is MISSING and self.field.default_factory is MISSING

    def default(self) -> Any:
        """The value of a field that is not required."""
        factory = self.field.default_factory
        return self.field.default if factory is MISSING else factory()


_DERIVED: dict[type, tuple[Column, ...]] = {}


def columns_of(record: type) -> tuple[Column, ...]:
    """The columns of a record, or of any dataclass of plain values, in the order of its fields."""
    if record not in _DERIVED:
        hints = get_type_hints(record, include_extras=True)
        own = [entry for entry in fields(record) if not entry.kw_only]
        _DERIVED[record] = tuple(_column(entry, hints[entry.name]) for entry in own)
    return _DERIVED[record]


def _column(entry: "Field[Any]", hint: Any) -> Column:
    name = entry.metadata.get("column", entry.name)
    options = [option for option in get_args(hint) if option is not NoneType]
    if get_origin(hint) in (Union, UnionType):
        return replace(_column(entry, options[0]), is_optional=True)
    if get_origin(hint) is tuple:
        inner = options[0]
        if isinstance(inner, type) and issubclass(inner, Record):
            members = [(column.name, column.type) for column in columns_of(inner)]
            return Column(name, entry, pa.list_(pa.struct(members)), collect=tuple, record=inner)
        kind = pa.list_(_type(inner))
        return Column(name, entry, kind, range=_range(inner), collect=tuple)
    if get_origin(hint) is Mapping:
        if options[1] is Any:
            return Column(name, entry, pa.string(), is_json=True, collect=dict)
        kind = pa.map_(pa.string(), _type(options[1]))
        return Column(name, entry, kind, range=_range(options[1]), collect=dict)
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    return Column(name, entry, _type(hint), choices=choices, range=_range(hint))


def _range(hint: Any) -> Range | None:
    """The range of a plain value."""
    return next((part for part in get_args(hint) if isinstance(part, Range)), None)


def _type(hint: Any) -> pa.DataType:
    """The type of a plain value."""
    if get_origin(hint) is Annotated:
        return get_args(hint)[1]
    return pa.string() if get_origin(hint) is Literal else SCALARS[hint]
