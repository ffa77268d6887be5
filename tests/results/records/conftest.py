"""Records with any content, made from their annotations."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from random import Random
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taskgroup.results.records import (
    DimensionRow,
    EvaluationRow,
    ImageRow,
    Panel,
    Record,
    TaskGradientRow,
    TransferRow,
    TrialResult,
)
from taskgroup.results.records.ranges import Range

RECORDS = (
    TrialResult,
    EvaluationRow,
    Panel,
    ImageRow,
    TransferRow,
    DimensionRow,
    TaskGradientRow,
)
PLAIN: Mapping[Any, Callable[[Random], Any]] = {
    int: lambda random: random.randint(-(2**40), 2**40),
    float: lambda random: random.choice([0.0, -1.5, float("inf"), random.random()]),
    bool: lambda random: random.random() < 0.5,
    str: lambda random: random.choice(["", "segmentation+depth", "naïve \n„ε“ 画像"]),
    bytes: lambda random: random.randbytes(random.randint(0, 9)),
    Any: lambda random: random.choice([None, 1, 0.5, "a", [1, [2]], {"b": {"c": []}}]),
}


def value_of(hint: Any, random: Random) -> Any:
    """A value that an annotation allows."""
    options = get_args(hint)
    if get_origin(hint) is Annotated:
        least = max(part.least for part in options if isinstance(part, Range))
        whole = random.randint(int(least), 2**31 - 1)
        return whole if options[0] is int else random.choice([float(least), whole + 0.25])
    if get_origin(hint) is Literal:
        return random.choice(options)
    if NoneType in options:
        return random.choice([None, value_of(options[0], random)])
    if get_origin(hint) is tuple:
        return tuple(value_of(options[0], random) for _ in range(random.randint(0, 3)))
    if options:
        return {f"key {n}": value_of(options[1], random) for n in range(random.randint(0, 3))}
    return PLAIN[hint](random) if hint in PLAIN else make_record(hint, random)


def make_record(record: type[Record], random: Random) -> Record:
    """A record with any content."""
    hints = get_type_hints(record, include_extras=True)
    own = [entry.name for entry in fields(record) if entry.name != "extra"]
    made = {name: value_of(hints[name], random) for name in own}
    if "low" in made:
        made["low"], made["high"] = sorted((made["low"], made["high"]))
    return record(**made | fitting(record, made))


def fitting(record: type[Record], made: Mapping[str, Any]) -> dict[str, Any]:
    """What has to fit together in a record."""
    if record is Panel:
        return {"kind": "classes", "shape": (2, 3), "values": bytes(6)}
    if record is EvaluationRow:
        return {"influences": ()}
    if record is TaskGradientRow:
        return {"value": 0.5}
    if record is TrialResult:
        return {
            "config": {"any": made["config"]},
            "epochs": tuple(replace(row, epoch=n) for n, row in enumerate(made["epochs"], 1)),
            "started": "2026-11-21T04:00:00+00:00",
        }
    return {}


@pytest.fixture(params=RECORDS, ids=lambda record: record.stored_as)
def record(request: pytest.FixtureRequest) -> type[Record]:
    """Every class of records that has files, one at a time."""
    kind: type[Record] = request.param
    return kind


@pytest.fixture
def make() -> Callable[[type[Record], Random], Record]:
    """``make(record, random)`` makes a record with any content."""
    return make_record


@pytest.fixture(scope="session")
def schemas() -> dict[str, dict[str, str]]:
    """Types by column by record, as version 0.1 wrote them."""
    text = Path(__file__).with_name("schemas_0_1.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = json.loads(text)
    return found


@pytest.fixture
def stored() -> Callable[[pa.Table], bytes]:
    """``stored(table)`` is a table as the bytes of a parquet file."""

    def write(table: pa.Table) -> bytes:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        return bytes(sink.getvalue())

    return write
