"""A cell that cannot be is named, whatever wrote it; one that can be is read as it stands.

The files have no check sums, as those of version 0.1 and of whoever rewrites one.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from taskgroup.errors import DataError
from taskgroup.results.records import (
    EpochRow,
    EvaluationRow,
    GradientCheckRow,
    Panel,
    Record,
    TaskGradientRow,
    TransferRow,
    TrialResult,
    pixel_bytes,
)
from taskgroup.results.records.codec import decode, to_table
from taskgroup.results.records.columns import Column, columns_of
from taskgroup.results.records.plain import from_plain, to_plain

Make = Callable[[type[Record], Random], Record]
Stored = Callable[[pa.Table], bytes]
ODD: tuple[Any, ...] = (
    None, True, 0, -1, -7, 2**31, 2**63 - 1, 0.5, 1.5, -0.5, 1e300, math.nan, math.inf, "", "weird",
    "[]", "{", "[" * 100_000, b"", b"\0", [], [None], [-1], [0.5], ["weird"], [[1]], [("a", None)],
    [("a", math.nan), ("a", 1.0)], [{"epoch": 0}], [{"epoch": None}],
)  # fmt: skip
"""Cells for every column: most have another type than it."""


def arrays(column: Column, cell: Any) -> Iterator[pa.Array]:
    """The cell as a column of the right type if it can be one, and of its own type."""
    for kind in (column.type, None):
        if kind is not None and pa.types.is_map(kind) and cell == [None]:
            continue  # Arrow ends the process
        try:
            yield pa.array([cell], kind)
        except (pa.ArrowException, OverflowError, TypeError, ValueError, AttributeError):
            continue


def altered(table: pa.Table, column: Column, array: pa.Array) -> pa.Table:
    place = table.schema.get_field_index(column.name)
    changed = table.set_column(place, pa.field(column.name, array.type), array)
    return changed.replace_schema_metadata(table.schema.metadata)


def as_stored(column: Column, value: Any) -> Any:
    """A field as the file holds it."""
    if column.record is not None:
        return [to_plain(row) for row in value]
    if column.is_json:
        return json.dumps(value)
    if column.collect is dict:
        return list(value.items())
    return list(value) if column.collect is tuple else value


def or_problem(read: Callable[[], Any]) -> Any:
    """What is read, or the line that says what is wrong."""
    try:
        return read()
    except DataError as error:
        text = str(error)
    assert "\n" not in text
    assert len(text) < 500
    return text


def test_an_odd_cell_is_named_or_read_as_it_stands(
    record: type[Record], make: Make, stored: Stored
) -> None:
    row = make(record, Random(1))
    table, named = to_table(record, [row]), 0
    for column in columns_of(record):
        for cell in ODD:
            for array in arrays(column, cell):
                content = stored(altered(table, column, array))
                found = or_problem(partial(decode, record, content, source="runs/x"))
                if isinstance(found, str):
                    assert found.startswith("runs/x: column ")
                    named += 1
                    continue
                value = as_stored(column, getattr(found[0], column.field.name))
                expected = array.to_pylist()[0]
                if expected is None:
                    expected = None if column.is_optional else as_stored(column, column.default())
                if column.is_json and expected is not None:
                    value, expected = json.loads(value), json.loads(expected)
                assert repr(value) == repr(expected) or value == expected, (column.name, cell)
    assert named > 10 * len(columns_of(record))


def test_an_odd_value_of_a_checkpoints_row_is_named_or_read_as_it_stands(make: Make) -> None:
    plain = to_plain(make(EpochRow, Random(1)))
    for odd in (3, "row", None, [plain]):
        with pytest.raises(DataError, match=r"^checkpoint x must hold columns by name, but has "):
            from_plain(EpochRow, odd, source="checkpoint x")  # type: ignore[arg-type]
    for column in columns_of(EpochRow):
        for cell in (*ODD, {"a": "b"}, {"a": None}, {1: 1.0}, 10**400):
            values = {**plain, column.name: cell}
            found = or_problem(partial(from_plain, EpochRow, values, source="checkpoint x"))
            if isinstance(found, str):
                assert found.startswith("checkpoint x")
            else:
                assert getattr(found, column.field.name) == cell
    with pytest.raises(DataError, match="checkpoint x must hold extra as another version wrote it"):
        from_plain(EpochRow, {**plain, "extra": "AAAA"}, source="checkpoint x")


def scored(**changes: Any) -> EvaluationRow:
    base = EvaluationRow(
        3, "a", "other", "clean", (), "linf", 0.0, 0, 0, "a", "miou", "maximize", 0.5, 0.4, 0.6,
        2, 0, "ok", 1.0,
    )  # fmt: skip
    return replace(base, **changes)


def trial(**changes: Any) -> TrialResult:
    base = TrialResult(0, "a+b", "searched", {}, {}, "a", ("b",), 7, "interrupted")
    return replace(base, **changes)


def pair(**changes: Any) -> TransferRow:
    base = TransferRow(
        1, "a", 2, "b", "apgd", "linf", 0.1, 1, 1, "a", "accuracy", "maximize", 0.5, 0.4, 0.6, 2, 0
    )
    return replace(base, **changes)


def angle(**changes: Any) -> TaskGradientRow:
    base = TaskGradientRow(1, "a", "other", "cosine", "a", "b", 0.5, 0.4, 0.6, 2, False, 0)
    return replace(base, **changes)


def picture(pixels: np.ndarray[Any, Any], **changes: Any) -> Panel:
    base = Panel(
        3, "a", "winner", 0, "clean", 0.0, "image", "", "picture", pixels.shape,
        pixel_bytes(pixels, "picture"),
    )  # fmt: skip
    return replace(base, **changes)


FLAT = np.zeros((2, 2, 3), np.uint8)


def epochs(*numbers: int, **metrics: float) -> tuple[EpochRow, ...]:
    named = {name.replace("__", "/"): value for name, value in metrics.items()}
    return tuple(EpochRow(number, named, 1.0, 1) for number in numbers)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (scored(low=0.7), r"low must not be above high, but is 0\.7 with high 0\.6"),
        (scored(influences=(0.1,) * 3), "influences must be those of 2 images at most, but are 3"),
        (scored(images=-1), "images must be 0 or more, but is -1"),
        (scored(seconds=math.nan), "seconds must be 0 or more, but is nan"),
        (scored(epsilon=math.inf), "epsilon must be 0 or more, but is inf"),
        (scored(trial=-2), "trial must be -1 or more, but is -2"),
        (angle(value=1.1), r"value must lie in \[-1, 1\], being a cosine, but is 1\.1"),
        (GradientCheckRow(0, "", False, 2.0, 3), r"share must lie in \[0, 1\], but is 2"),
        (trial(epochs=epochs(1, 3, 2)), r"epochs must rise from row to row, but are \[1, 3, 2\]"),
        (trial(epochs=epochs(1, 1)), r"epochs must rise"),
        (trial(epochs=epochs(0)), r"epochs\.epoch must be 1 or more, but is 0"),
        (trial(fidelity={"epochs": -1.0}), "fidelity must be 0 or more, but is -1"),
        (trial(started="yesterday"), "started must be a date in ISO 8601, but is 'yesterday'"),
        (trial(config={"adversary": 3}), "config must hold adversary as keys, but has 3"),
        (
            trial(checkpoint="../0.pt"),
            r"checkpoint must be below the run directory, but is '\.\./0",
        ),
        (trial(checkpoint="/etc/passwd"), "checkpoint must be below the run directory"),
        (picture(FLAT, shape=(2, 2)), r"shape must be that of a 'picture' of 12 bytes, but is \[2"),
        (picture(FLAT, shape=(2, 3, 2)), "shape must be that of a 'picture'"),
        (picture(FLAT, shape=(2, 2, -3)), "shape must be 0 or more, but is -3"),
        (picture(FLAT, kind="classes"), "shape must be that of a 'classes' of 12 bytes"),
        (picture(FLAT, kind="numbers"), "shape must be that of a 'numbers' of 12 bytes"),
        (picture(FLAT, values=bytes(11)), "shape must be that of a 'picture' of 11 bytes"),
        (picture(FLAT[:0]), "shape must be that of a 'picture' of 0 bytes"),
    ],
)
def test_what_cannot_be_is_named(row: Record, problem: str, stored: Stored) -> None:
    content = stored(to_table(type(row), [row]))
    with pytest.raises(
        DataError, match=rf"^runs/x: column {problem}.*; move the file away"
    ) as caught:
        decode(type(row), content, source="runs/x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        scored(score=math.nan, low=math.nan, high=math.nan),
        scored(score=1 + 1e-9, high=1 + 1e-9),
        scored(score=61.5, high=70.0),
        scored(score_name="rmse", score=7.5, high=8.0),
        scored(vulnerability=-3.0, trial=-1),
        angle(quantity="norm", value=9.0, high=10.0),
        angle(value=1.00001, high=1.00001),
        trial(epochs=epochs(2, 5, a__train__loss=8.0, a__clean__miou=3.0)),
        trial(config={"adversary": None}),
        picture(FLAT[0], kind="classes", values=bytes(6)),
        picture(FLAT[0, 0, 0], kind="classes", values=bytes(1)),
    ],
)
def test_what_may_be_is_read(row: Record, stored: Stored) -> None:
    (found,) = decode(type(row), stored(to_table(type(row), [row])), source="x")
    assert repr(found) == repr(row)
