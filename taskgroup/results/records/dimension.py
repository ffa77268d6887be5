"""What was measured against the number of outputs: two more kinds of files of a run.

::

    dimension/0001-....parquet        gradient norms and robust scores against outputs or tasks
    task_gradients/0001-....parquet   norms of task gradients and the angles between them
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

import pyarrow as pa

from taskgroup.results.records import codec as schema
from taskgroup.results.records.base import Direction
from taskgroup.results.records.shards import next_name
from taskgroup.results.storage.base import Storage

Measure = Literal["gradient_norm", "robust_score"]
Counted = Literal["outputs", "tasks"]
Quantity = Literal["norm", "cosine", "joint_norm", "joint_cosine", "balanced_norm",
                   "balanced_cosine"]  # fmt: skip


@dataclass(frozen=True)
class DimensionRow:
    """One number at one number of attacked outputs or tasks.

    Attributes:
        trial: Number of the trial, or -1 for a checkpoint from elsewhere.
        label: The trial's label.
        role: ``winner``, ``baseline`` or ``other``.
        measure: ``gradient_norm``, or ``robust_score`` on what was attacked.
        counted: What ``count`` counts: ``outputs`` (pixels of ``task``) or ``tasks``.
        count: How many outputs, or tasks, the loss is the mean of.
        combine: How several tasks become one: ``sum`` adds their losses, ``unit_gradient`` their
            gradients divided by their lengths.
        task: Whose outputs they are, and whose score it is.
        score_name: ``root_mean_square`` or ``mean`` of gradient norms, or a metric's score.
        direction: Whether more is better.
        value: The mean over images and samples, or the data-set score.
        low: Lower end of the bootstrap 95 % interval over images.
        high: Upper end of the same interval.
        clean: The score of the same outputs without attack; None for gradients.
        images: Images that have so many valid outputs.
        samples: Random choices of outputs per image, on average.
        values: Of a gradient norm, each image's mean over its samples (of squares, for
            ``root_mean_square``), NaN where it has too few outputs; empty for a score.
        attack: Registry name of the attack, or empty.
        norm: Norm of the ball; ``l2`` for a gradient.
        epsilon: Radius for pixels in [0, 1]; 0 without attack.
        steps: Gradient steps per restart.
        restarts: Restarts.
        grid: Name of the numbers of outputs, or ``chosen``.
        seed_compatible: Whether it is the published script's number.
        seed: Seed of orders, attacks and resampling.
        seconds: Time that it took; for gradients that of the whole curve.
        split: Split of the data set that the images come from.
    """

    trial: int
    label: str
    role: Literal["winner", "baseline", "other"]
    measure: Measure
    counted: Counted
    count: int
    combine: str
    task: str
    score_name: str
    direction: Direction
    value: float
    low: float
    high: float
    clean: float | None
    images: int
    samples: float
    values: tuple[float, ...]
    attack: str
    norm: str
    epsilon: float
    steps: int
    restarts: int
    grid: str
    seed_compatible: bool
    seed: int
    seconds: float
    split: Literal["test", "confirm"] = "test"


@dataclass(frozen=True)
class TaskGradientRow:
    """One length or angle of a network's task gradients, averaged over images.

    Attributes:
        trial: Number of the trial, or -1 for a checkpoint from elsewhere.
        label: The trial's label.
        role: ``winner``, ``baseline`` or ``other``.
        quantity: ``norm`` of a task's gradient; ``cosine`` of two tasks' gradients; ``joint_norm``
            of the gradient of the mean loss and ``joint_cosine`` of a task's gradient with it;
            ``balanced_norm`` and ``balanced_cosine``: likewise with the mean of the gradients
            divided by their lengths.
        task: The task; empty for the norms of joint gradients.
        other: The second task of a cosine, else empty.
        value: Mean over images.
        low: Lower end of the bootstrap 95 % interval over images.
        high: Upper end of the same interval.
        images: Images where it is defined: both tasks labelled, no gradient zero.
        seed_compatible: Whether gradients were joined over pairs of images, as published.
        seed: Seed of resampling.
        split: Split of the data set that the images come from.
    """

    trial: int
    label: str
    role: Literal["winner", "baseline", "other"]
    quantity: Quantity
    task: str
    other: str
    value: float
    low: float
    high: float
    images: int
    seed_compatible: bool
    seed: int
    split: Literal["test", "confirm"] = "test"


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


def write_dimension(storage: Storage, rows: Sequence[DimensionRow]) -> None:
    """Write one file of curves; it stands for earlier curves of the same kind and trials.

    Raises:
        ResourceError: The disk is full or not writable.
    """
    _write(storage, "dimension", DIMENSION_SCHEMA, rows)


def write_task_gradients(storage: Storage, rows: Sequence[TaskGradientRow]) -> None:
    """Write one file of task gradients; it stands for earlier ones of the same trials.

    Raises:
        ResourceError: The disk is full or not writable.
    """
    _write(storage, "task_gradients", TASK_GRADIENT_SCHEMA, rows)


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


def _write(storage: Storage, folder: str, columns: pa.Schema, rows: Sequence[Any]) -> None:
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=columns)
    storage.write(next_name(storage, folder), schema.encode(table))


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
