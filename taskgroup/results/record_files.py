"""The files of records below a run directory, but for the trials'.

::

    evaluations/0001-....parquet      the scores of one evaluation
    panels/0001-....parquet           the pictures that belong to it
    worst_case/0001-....parquet       per image, the attack that counts
    transfers/0001-....parquet        models on each other's attacked images
    gradient_checks/0001-....parquet  whether gradients describe the winner and the baselines
    dimension/0001-....parquet        gradient norms and robust scores against outputs or tasks
    task_gradients/0001-....parquet   norms of task gradients and the angles between them
    shards/<trial>-<condition>-<key>-<first image>.parquet    images that one piece of work scored
    shards/<the same>.panels          their pictures, if any

A shard's key stands for everything that its numbers depend on, so an evaluation that was killed
finds what it had finished, and one with other settings does not.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from logging import getLogger
from operator import attrgetter
from typing import Any, Generic, TypeVar

from taskgroup.errors import DataError
from taskgroup.results.records import (
    DimensionRow,
    EvaluationRow,
    GradientCheckRow,
    ImageRow,
    Panel,
    Record,
    TaskGradientRow,
    TransferRow,
)
from taskgroup.results.records.codec import decode, encode
from taskgroup.results.storage.base import Storage

R = TypeVar("R", bound=Record)
T = TypeVar("T")
_log = getLogger(__name__)


def or_left_out(parse: Callable[[], T]) -> T | None:
    """What a file holds, or None where it is damaged: then it is named in one warning.

    Args:
        parse: Makes records of content that has been read; a place that cannot be reached is no
            damage, and stops whoever reads.
    """
    try:
        return parse()
    except DataError as error:
        _name_once(str(error))
        return None


@cache
def _name_once(problem: str) -> None:
    _log.warning("left out: %s", problem)


def write_records(storage: Storage, name: str, record: type[R], rows: Sequence[R]) -> None:
    """Write one file of records.

    Raises:
        ResourceError: The disk is full or not writable.
    """
    storage.write(name, encode(record, rows))


def read_records(storage: Storage, name: str, record: type[R]) -> list[R] | None:
    """The records of one file, in the order written; None where it is damaged, as it says.

    Torn, foreign, or lacking a column that the record needs.

    Raises:
        DataError: The storage cannot be reached.
    """
    content = storage.read(name)
    return or_left_out(lambda: decode(record, content, source=storage.full(name)))


@dataclass(frozen=True)
class RecordFolder(Generic[R]):
    """Numbered files of one kind of record; rows of a later file stand for those of earlier ones.

    Attributes:
        folder: Its name below the run directory.
        record: Class of the records.
        key: Fields that say what a row is about: a later file's rows stand for all earlier rows
            about the same. None: the last file stands for all.
    """

    folder: str
    record: type[R]
    key: tuple[str, ...] = ()

    def next_base(self, storage: Storage) -> str:
        """Name of the next file within the folder; two writers at once never share one."""
        found = (re.match(r"(\d+)-", name) for name in self._names(storage))
        number = 1 + max((int(match[1]) for match in found if match), default=0)
        return f"{number:04d}-{secrets.token_hex(4)}.parquet"

    def write(self, storage: Storage, rows: Sequence[R], *, base: str | None = None) -> None:
        """Write one more file, under the next name or that of the file it belongs to.

        Raises:
            ResourceError: The disk is full or not writable.
        """
        name = f"{self.folder}/{base or self.next_base(storage)}"
        write_records(storage, name, self.record, rows)

    def latest(self, storage: Storage) -> list[R]:
        """The latest rows about each thing, in the order written; none if there are none.

        A file that is torn or foreign, or lacks a column that it needs, is named in a warning and
        left out.

        Raises:
            DataError: The storage cannot be reached.
        """
        names = [f"{self.folder}/{name}" for name in self._names(storage)]
        found = [read_records(storage, name, self.record) for name in names]
        files = [file for file in found if file is not None]
        latest: dict[Any, list[R]] = {}
        for file in files if self.key else files[-1:]:
            rows: dict[Any, list[R]] = {}
            for row in file:
                about = attrgetter(*self.key)(row) if self.key else None
                rows.setdefault(about, []).append(row)
            latest.update(rows)
        return [row for rows in latest.values() for row in rows]

    def _names(self, storage: Storage) -> list[str]:
        """Names of the files within the folder, sorted."""
        names = storage.names(self.folder, ".parquet")
        return [name.removeprefix(f"{self.folder}/") for name in names]


EVALUATIONS = RecordFolder("evaluations", EvaluationRow, ("trial", "label", "split"))
PANELS = RecordFolder("panels", Panel, ("trial", "label"))
WORST_CASES = RecordFolder("worst_case", ImageRow, ("trial", "label", "split"))
TRANSFERS = RecordFolder("transfers", TransferRow)
GRADIENT_CHECKS = RecordFolder("gradient_checks", GradientCheckRow, ("trial",))
DIMENSIONS = RecordFolder(
    "dimension", DimensionRow, ("trial", "label", "measure", "counted", "task")
)
TASK_GRADIENTS = RecordFolder("task_gradients", TaskGradientRow, ("trial", "label"))
