"""The files beside ``evaluations/``: what attacks left of each image, and what else was measured.

::

    shards/<trial>-<condition>-<key>-<first image>.parquet    images that one piece of work scored
    shards/<the same>.panels.parquet                          their pictures, if any
    worst_case/0001-....parquet                               per image, the attack that counts
    transfers/0001-....parquet                                models on each other's attacked images
    dimension/0001-....parquet        gradient norms and robust scores against outputs or tasks
    task_gradients/0001-....parquet   norms of task gradients and the angles between them

A shard's key stands for everything that its numbers depend on, so an evaluation that was killed
finds what it had finished, and one with other settings does not.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import pyarrow as pa

from taskgroup.results.records import (
    DimensionRow,
    ImageRow,
    Panel,
    TaskGradientRow,
    TransferRow,
)
from taskgroup.results.records import codec as schema
from taskgroup.results.storage.base import Storage

_TEXTS = pa.list_(pa.string())
_BUDGET = {
    "attack": pa.string(),
    "norm": pa.string(),
    "epsilon": pa.float64(),
    "steps": pa.int32(),
    "restarts": pa.int32(),
}

IMAGE_SCHEMA = schema.record_schema(
    "image",
    {
        "trial": pa.int32(),
        "label": pa.string(),
        "condition": pa.string(),
        "member": pa.string(),
        "judged": pa.int32(),
        **_BUDGET,
        "attacked_tasks": _TEXTS,
        "seed": pa.int64(),
        "split": pa.string(),
        "image": pa.int64(),
        "task": pa.string(),
        "valid": pa.int64(),
        "sums": pa.list_(pa.float64()),
        "seconds": pa.float64(),
    },
)

TRANSFER_SCHEMA = schema.record_schema(
    "transfer",
    {
        "source": pa.int32(),
        "source_label": pa.string(),
        "target": pa.int32(),
        "target_label": pa.string(),
        **_BUDGET,
        "task": pa.string(),
        "score_name": pa.string(),
        "direction": pa.string(),
        "score": pa.float64(),
        "low": pa.float64(),
        "high": pa.float64(),
        "images": pa.int64(),
        "seed": pa.int64(),
        "split": pa.string(),
    },
)


_TRIAL = {"trial": pa.int32(), "label": pa.string(), "role": pa.string()}
_INTERVAL = {"value": pa.float64(), "low": pa.float64(), "high": pa.float64()}

DIMENSION_SCHEMA = schema.record_schema(
    "dimension",
    {
        **_TRIAL,
        "measure": pa.string(),
        "counted": pa.string(),
        "count": pa.int64(),
        "combine": pa.string(),
        "task": pa.string(),
        "score_name": pa.string(),
        "direction": pa.string(),
        **_INTERVAL,
        "clean": pa.float64(),
        "images": pa.int64(),
        "samples": pa.float64(),
        "values": pa.list_(pa.float64()),
        "attack": pa.string(),
        "norm": pa.string(),
        "epsilon": pa.float64(),
        "steps": pa.int32(),
        "restarts": pa.int32(),
        "grid": pa.string(),
        "seed_compatible": pa.bool_(),
        "seed": pa.int64(),
        "seconds": pa.float64(),
        "split": pa.string(),
    },
)

TASK_GRADIENT_SCHEMA = schema.record_schema(
    "task_gradient",
    {
        **_TRIAL,
        "quantity": pa.string(),
        "task": pa.string(),
        "other": pa.string(),
        **_INTERVAL,
        "images": pa.int64(),
        "seed_compatible": pa.bool_(),
        "seed": pa.int64(),
        "split": pa.string(),
    },
)


def write_images(storage: Storage, name: str, rows: Sequence[ImageRow]) -> None:
    """Write one file of image rows.

    Raises:
        ResourceError: The disk is full or not writable.
    """
    _write(storage, name, IMAGE_SCHEMA, rows)


def read_images(storage: Storage, name: str) -> list[ImageRow]:
    """The image rows of one file.

    Raises:
        DataError: The file is torn, foreign, or of another schema version.
    """

    def convert(table: pa.Table) -> list[ImageRow]:
        return [
            ImageRow(
                **{
                    **row,
                    "attacked_tasks": tuple(row["attacked_tasks"]),
                    "sums": tuple(row["sums"]),
                }
            )
            for row in table.to_pylist()
        ]

    return _read(storage, name, IMAGE_SCHEMA, convert)


def write_shard_panels(storage: Storage, name: str, panels: Sequence[Panel]) -> None:
    """Write the pictures of a shard.

    Raises:
        ResourceError: The disk is full or not writable.
    """
    storage.write(name, schema.encode(schema.panels_to_table(panels)))


def read_shard_panels(storage: Storage, name: str) -> list[Panel]:
    """The pictures of a shard.

    Raises:
        DataError: The file is torn, foreign, or of another schema version.
    """
    return _read(storage, name, schema.PANEL_SCHEMA, schema.table_to_panels)


def write_transfers(storage: Storage, name: str, rows: Sequence[TransferRow]) -> None:
    """Write one transfer matrix.

    Raises:
        ResourceError: The disk is full or not writable.
    """
    _write(storage, name, TRANSFER_SCHEMA, rows)


def read_transfers(storage: Storage) -> list[TransferRow]:
    """The latest transfer matrix; none if there is none.

    Raises:
        DataError: The file is torn, foreign, or of another schema version.
    """
    names = storage.names("transfers", ".parquet")
    if not names:
        return []
    return _read(
        storage,
        names[-1],
        TRANSFER_SCHEMA,
        lambda table: [TransferRow(**row) for row in table.to_pylist()],
    )


def next_name(storage: Storage, folder: str) -> str:
    """A name for the next file of a folder; two writers at once never share one."""
    found = (re.match(rf"{folder}/(\d+)-", name) for name in storage.names(folder, ".parquet"))
    number = 1 + max((int(match[1]) for match in found if match), default=0)
    return f"{folder}/{number:04d}-{secrets.token_hex(4)}.parquet"


def _write(storage: Storage, name: str, columns: pa.Schema, rows: Sequence[Any]) -> None:
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=columns)
    storage.write(name, schema.encode(table))


def _read(storage: Storage, name: str, columns: pa.Schema, convert: Any) -> list[Any]:
    source = storage.full(name)
    table = schema.decode(storage.read(name), columns, source=source)
    return schema.records(convert, table, source=source)


def write_dimension(storage: Storage, rows: Sequence[DimensionRow]) -> None:
    """Write one file of curves; it stands for earlier curves of the same kind and trials.

    Raises:
        ResourceError: The disk is full or not writable.
    """
    _write(storage, next_name(storage, "dimension"), DIMENSION_SCHEMA, rows)


def write_task_gradients(storage: Storage, rows: Sequence[TaskGradientRow]) -> None:
    """Write one file of task gradients; it stands for earlier ones of the same trials.

    Raises:
        ResourceError: The disk is full or not writable.
    """
    _write(storage, next_name(storage, "task_gradients"), TASK_GRADIENT_SCHEMA, rows)


def read_dimension(storage: Storage) -> list[DimensionRow]:
    """Each trial's latest curve of each kind, in the order written; none if there is none.

    Raises:
        DataError: A file is torn, foreign, or of another schema version.
    """

    def convert(table: pa.Table) -> list[DimensionRow]:
        return [
            DimensionRow(**{**row, "values": tuple(row["values"])}) for row in table.to_pylist()
        ]

    return _read_latest(
        storage,
        "dimension",
        DIMENSION_SCHEMA,
        convert,
        lambda row: (row.trial, row.label, row.measure, row.counted, row.task),
    )


def read_task_gradients(storage: Storage) -> list[TaskGradientRow]:
    """Each trial's latest task gradients, in the order written; none if there are none.

    Raises:
        DataError: A file is torn, foreign, or of another schema version.
    """
    return _read_latest(
        storage,
        "task_gradients",
        TASK_GRADIENT_SCHEMA,
        lambda table: [TaskGradientRow(**row) for row in table.to_pylist()],
        lambda row: (row.trial, row.label),
    )


Record = TypeVar("Record", DimensionRow, TaskGradientRow)


def _read_latest(
    storage: Storage,
    folder: str,
    columns: pa.Schema,
    convert: Callable[[pa.Table], list[Record]],
    key: Callable[[Record], tuple[Any, ...]],
) -> list[Record]:
    latest: dict[tuple[Any, ...], list[Record]] = {}
    for name in storage.names(folder, ".parquet"):
        source = storage.full(name)
        table = schema.decode(storage.read(name), columns, source=source)
        found: dict[tuple[Any, ...], list[Record]] = {}
        for row in schema.records(convert, table, source=source):
            found.setdefault(key(row), []).append(row)
        latest.update(found)
    return [row for rows in latest.values() for row in rows]
