"""What attacks left of each image, and of other models: the files beside ``evaluations/``.

::

    shards/<trial>-<condition>-<key>-<first image>.parquet    images that one piece of work scored
    shards/<the same>.panels.parquet                          their pictures, if any
    worst_case/0001-....parquet                               per image, the attack that counts
    transfers/0001-....parquet                                models on each other's attacked images

A shard's key stands for everything that its numbers depend on, so an evaluation that was killed
finds what it had finished, and one with other settings does not.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa

from taskgroup.results.records import codec as schema
from taskgroup.results.records.base import Direction, Panel
from taskgroup.results.storage.base import Storage


@dataclass(frozen=True)
class TransferRow:
    """The score of one model on images that were attacked for another one.

    It says how far adversarial images travel and is no measure of robustness: that takes an attack
    on the model itself.

    Attributes:
        source: Trial whose model the images were attacked for, or -1.
        source_label: Its label.
        target: Trial whose model was scored on them, or -1.
        target_label: Its label.
        attack: Registry name of the attack.
        norm: Norm of the ball.
        epsilon: Radius for pixels in [0, 1].
        steps: Gradient steps per restart.
        restarts: Restarts.
        task: Whose score it is: the main task.
        score_name: Its main score.
        direction: Whether more is better.
        score: The data-set score.
        low: Lower end of the bootstrap 95 % interval over images.
        high: Upper end of the same interval.
        images: Number of images.
        seed: Seed of the attack.
        split: Split of the data set that the images come from.
    """

    source: int
    source_label: str
    target: int
    target_label: str
    attack: str
    norm: str
    epsilon: float
    steps: int
    restarts: int
    task: str
    score_name: str
    direction: Direction
    score: float
    low: float
    high: float
    images: int
    seed: int
    split: Literal["test", "confirm"] = "test"


@dataclass(frozen=True)
class ImageRow:
    """What one attack left of one image, for one task of one model.

    Attributes:
        trial: Number of the trial, or -1.
        label: Its label.
        condition: ``clean``, ``apgd``, ``sea``, ...; ``worst_case`` for the one that counts.
        member: Which attack of an ensemble it was; with ``worst_case`` the condition that the
            result comes from.
        judged: Trial whose model was scored: another one where it is about transfer.
        attack: Registry name of the attack, or empty.
        norm: Norm of the ball.
        epsilon: Radius for pixels in [0, 1].
        steps: Gradient steps per restart.
        restarts: Restarts.
        attacked_tasks: Tasks whose losses the attack raised.
        seed: Seed of the attack.
        split: Split of the data set.
        image: Position of the image in it.
        task: Whose sums they are.
        valid: Pixels that count, or 1 for an image with one label.
        sums: The metric's sums of the image; scores of a data set are functions of their total.
        seconds: Time of the piece of work that the image was part of.
    """

    trial: int
    label: str
    condition: str
    member: str
    judged: int
    attack: str
    norm: str
    epsilon: float
    steps: int
    restarts: int
    attacked_tasks: tuple[str, ...]
    seed: int
    split: Literal["test", "confirm"]
    image: int
    task: str
    valid: int
    sums: tuple[float, ...]
    seconds: float


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
