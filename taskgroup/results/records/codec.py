"""The columns of every parquet file of a run, and the way between them and records.

Each file says in its metadata which record it holds and by which version of this schema.
``docs/records.md`` describes the columns; a change to them raises ``SCHEMA_VERSION``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from taskgroup.errors import DataError
from taskgroup.results.records import (
    EpochRow,
    EvaluationRow,
    Panel,
    TrialResult,
)

SCHEMA_VERSION = 2
RECORD_KEY = b"taskgroup.record"
VERSION_KEY = b"taskgroup.schema_version"


def record_schema(record: str, columns: Mapping[str, pa.DataType]) -> pa.Schema:
    """The columns of a record with the metadata that names it and its version."""
    metadata = {RECORD_KEY: record.encode(), VERSION_KEY: str(SCHEMA_VERSION).encode()}
    return pa.schema(list(columns.items()), metadata=metadata)


_TEXTS = pa.list_(pa.string())
_EPOCH = pa.struct(
    [
        ("epoch", pa.int32()),
        ("metrics", pa.map_(pa.string(), pa.float64())),
        ("seconds", pa.float64()),
        ("peak_memory", pa.int64()),
    ]
)

TRIAL_SCHEMA = record_schema(
    "trial",
    {
        "number": pa.int32(),
        "label": pa.string(),
        "role": pa.string(),
        "config": pa.string(),
        "parameters": pa.string(),
        "main_task": pa.string(),
        "auxiliary_tasks": _TEXTS,
        "output_dimension": pa.int64(),
        "status": pa.string(),
        "reason": pa.string(),
        "epochs": pa.list_(_EPOCH),
        "planned_epochs": pa.int32(),
        "seed": pa.int64(),
        "started": pa.string(),
        "seconds": pa.float64(),
        "overhead_seconds": pa.float64(),
        "peak_memory": pa.int64(),
        "stage": pa.string(),
        "parent": pa.int32(),
        "attempts": pa.int32(),
        "fidelity": pa.map_(pa.string(), pa.float64()),
        "checkpoint": pa.string(),
        "versions": pa.map_(pa.string(), pa.string()),
    },
)

EVALUATION_SCHEMA = record_schema(
    "evaluation",
    {
        "trial": pa.int32(),
        "label": pa.string(),
        "role": pa.string(),
        "condition": pa.string(),
        "attacked_tasks": _TEXTS,
        "norm": pa.string(),
        "epsilon": pa.float64(),
        "steps": pa.int32(),
        "restarts": pa.int32(),
        "task": pa.string(),
        "score_name": pa.string(),
        "direction": pa.string(),
        "score": pa.float64(),
        "low": pa.float64(),
        "high": pa.float64(),
        "images": pa.int64(),
        "seed": pa.int64(),
        "verdict": pa.string(),
        "seconds": pa.float64(),
        "attack": pa.string(),
        "valid": pa.int64(),
        "vulnerability": pa.float64(),
        "suite": pa.string(),
        "split": pa.string(),
        "step_size": pa.float64(),
    },
)

PANEL_SCHEMA = record_schema(
    "panel",
    {
        "trial": pa.int32(),
        "label": pa.string(),
        "role": pa.string(),
        "image": pa.int64(),
        "condition": pa.string(),
        "epsilon": pa.float64(),
        "content": pa.string(),
        "task": pa.string(),
        "kind": pa.string(),
        "shape": pa.list_(pa.int32()),
        "values": pa.binary(),
        "class_names": _TEXTS,
    },
)

PANEL_TYPES = {"picture": np.uint8, "classes": np.uint8, "numbers": np.float32}
"""Type of a panel's values by its kind, little endian, C order."""


def trials_to_table(trials: Sequence[TrialResult]) -> pa.Table:
    """Trials as a table of ``TRIAL_SCHEMA``, one row each."""
    return pa.Table.from_pylist([_trial_row(trial) for trial in trials], schema=TRIAL_SCHEMA)


def _trial_row(trial: TrialResult) -> dict[str, Any]:
    row = {name: getattr(trial, name) for name in TRIAL_SCHEMA.names}
    row["config"] = json.dumps(trial.config)
    row["parameters"] = json.dumps(trial.parameters)
    row["versions"] = list(trial.versions.items())
    row["fidelity"] = list(trial.fidelity.items())
    row["epochs"] = [
        {
            "epoch": epoch.epoch,
            "metrics": list(epoch.metrics.items()),
            "seconds": epoch.seconds,
            "peak_memory": epoch.peak_memory,
        }
        for epoch in trial.epochs
    ]
    return row


def table_to_trials(table: pa.Table) -> list[TrialResult]:
    """The trials of a table of ``TRIAL_SCHEMA``, in its order."""
    return [_trial(row) for row in table.to_pylist()]


def _trial(row: dict[str, Any]) -> TrialResult:
    changed = {
        "config": json.loads(row["config"]),
        "parameters": json.loads(row["parameters"]),
        "auxiliary_tasks": tuple(row["auxiliary_tasks"]),
        "versions": dict(row["versions"]),
        "fidelity": dict(row["fidelity"]),
        "epochs": tuple(
            EpochRow(**{**epoch, "metrics": dict(epoch["metrics"])}) for epoch in row["epochs"]
        ),
    }
    return TrialResult(**{**row, **changed})


def evaluations_to_table(rows: Sequence[EvaluationRow]) -> pa.Table:
    """Evaluation rows as a table of ``EVALUATION_SCHEMA``."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=EVALUATION_SCHEMA)


def table_to_evaluations(table: pa.Table) -> list[EvaluationRow]:
    """The evaluation rows of a table of ``EVALUATION_SCHEMA``, in its order."""
    return [
        EvaluationRow(**{**row, "attacked_tasks": tuple(row["attacked_tasks"])})
        for row in table.to_pylist()
    ]


def panels_to_table(panels: Sequence[Panel]) -> pa.Table:
    """Panels as a table of ``PANEL_SCHEMA``."""
    return pa.Table.from_pylist([_panel_row(panel) for panel in panels], schema=PANEL_SCHEMA)


def _panel_row(panel: Panel) -> dict[str, Any]:
    row = {name: getattr(panel, name) for name in PANEL_SCHEMA.names if name != "shape"}
    values = np.ascontiguousarray(panel.values, dtype=_little_endian(panel.kind))
    return {**row, "shape": list(panel.values.shape), "values": values.tobytes()}


def table_to_panels(table: pa.Table) -> list[Panel]:
    """The panels of a table of ``PANEL_SCHEMA``, in its order."""
    return [_panel(row) for row in table.to_pylist()]


def _panel(row: dict[str, Any]) -> Panel:
    values = np.frombuffer(row["values"], dtype=_little_endian(row["kind"]))
    values = values.reshape(row.pop("shape"))
    return Panel(**{**row, "values": values, "class_names": tuple(row["class_names"])})


def _little_endian(kind: str) -> np.dtype[Any]:
    return np.dtype(PANEL_TYPES[kind]).newbyteorder("<")


def encode(table: pa.Table) -> bytes:
    """A table as the bytes of a parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def decode(content: bytes, schema: pa.Schema, *, source: str) -> pa.Table:
    """Read a parquet file that must hold records of ``schema``.

    Args:
        content: The bytes of the file.
        schema: One of the schemas above.
        source: The file's name, for messages.

    Raises:
        DataError: One line naming the file: it is torn, foreign, or of another schema version.
    """
    record = schema.metadata[RECORD_KEY].decode()
    wanted = f"{source} must be a parquet file of taskgroup {record} records"
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read()
    except (pa.ArrowException, OSError) as error:
        problem = " ".join(str(error).split())[:120]
        raise DataError(f"{wanted}, but it is damaged ({problem}); move it away") from None
    _check_metadata(table.schema.metadata or {}, schema, wanted=wanted)
    if not table.schema.equals(schema):
        raise DataError(f"{wanted}, but its columns differ from them; move it away")
    return table


def _check_metadata(found: Mapping[bytes, bytes], schema: pa.Schema, *, wanted: str) -> None:
    if found.get(RECORD_KEY) != schema.metadata[RECORD_KEY]:
        raise DataError(f"{wanted}, but another program or record wrote it; move it away")
    version = found.get(VERSION_KEY, b"").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        raise DataError(
            f"{wanted}, schema version {SCHEMA_VERSION}, but it has version {version or 'none'}; "
            "read it with the taskgroup release that wrote it, or search again"
        )


def records(convert: Callable[[pa.Table], list[Any]], table: pa.Table, *, source: str) -> list[Any]:
    """Turn a decoded table into records with one of the functions above.

    Raises:
        DataError: A cell holds what no taskgroup release writes.
    """
    try:
        return convert(table)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{source} must hold taskgroup records: {error}; move it away") from None
