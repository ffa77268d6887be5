"""TensorBoard's event files of a run, made from its records, for ``tensorboard --logdir RUN``.

Every trial has one folder, so that TensorBoard lists it as a run of its own, and in it one file:
its drawn values as hyperparameters and every metric of every epoch. Records are the truth: a file
that does not continue what its record says is written again, and no epoch stands there twice.
"""

import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tensorboardX.proto.api_pb2 import Status
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.record_writer import RecordWriter

from taskgroup.errors import ResourceError
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.results.storage.local_files import make_below
from taskgroup.wording import task_set_text

FOLDER = "tensorboard"


class EventFiles:
    """Keeps the event files of a run; hears of every trial in the driver.

    A local file grows with every epoch. A remote one is written once, when its trial ends. Whatever
    the disk refuses is left out: it can be made again from the records.
    """

    def __init__(self, run: RunDirectory, records: Iterable[TrialResult] = ()) -> None:
        """Begin with what earlier sessions left.

        Args:
            run: The run directory.
            records: Trials of the run so far; those without a file get one.
        """
        self._run = run
        self._is_local = run.storage.folder is not None
        self._files: dict[int, str] = {}
        self._written: dict[int, TrialResult] = {}
        for record in records:
            if record.status != "interrupted" and not self._names(record):
                self(record)

    def __call__(self, record: TrialResult) -> None:
        """Write what is new in a record."""
        if not record.epochs:
            return
        with suppress(OSError, ResourceError):
            if self._is_local:
                self._append(record)
            elif record.status != "interrupted":
                self._run.storage.write(self._new_name(record), trial_events(record))

    def _append(self, record: TrialResult) -> None:
        before = self._written.get(record.number)
        if before is not None and _continues(before, record):
            content = _new_events(record, before)
        else:
            shutil.rmtree(self._run.path / folder_of(record), ignore_errors=True)
            self._files[record.number] = self._new_name(record)
            content = trial_events(record)
        path = self._run.path / self._files[record.number]
        make_below(self._run.path, path.parent)
        with path.open("ab") as file:
            file.write(content)
        self._written[record.number] = record

    def _names(self, record: TrialResult) -> list[str]:
        return [name for name in self._run.storage.names(folder_of(record), "") if name]

    def _new_name(self, record: TrialResult) -> str:
        """A name that no program has open yet, since those that do would miss what is new."""
        return f"{folder_of(record)}/events.out.tfevents.{time.time_ns() // 10**6}"


def folder_of(record: TrialResult) -> str:
    """The folder of a trial's events below the run directory, ``tensorboard/00017-main_only``."""
    label = re.sub(r"[^\w+-]+", "_", record.label)[:80]
    return f"{FOLDER}/{record.number:05d}-{label}"


def trial_events(record: TrialResult) -> bytes:
    """The whole event file of a trial."""
    begin = _begin(record)
    version = Event(wall_time=begin, file_version="brain.Event:2")
    start = SessionStartInfo(start_time_secs=begin)
    for name, value in hyperparameters(record).items():
        _set(start.hparams[name], value)
    first = _hparams_event("session_start_info", start, begin)
    return _framed([version, first]) + _new_events(record, None)


def hyperparameters(record: TrialResult) -> Mapping[str, bool | float | str]:
    """What TensorBoard's HPARAMS page and other loggers list: the drawn values and the task set."""
    own = {
        "task set": task_set_text(record.task_set),
        "training": "adversarial" if record.is_adversarial else "natural",
        "stage": record.stage,
        "role": record.role,
    }
    return own | {key: _plain(value) for key, value in record.parameters.items()}


def _plain(value: Any) -> bool | float | str:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


def _set(slot: Any, value: bool | float | str) -> None:
    """Put a value into a protobuf value."""
    if isinstance(value, bool):
        slot.bool_value = value
    elif isinstance(value, str):
        slot.string_value = value
    else:
        slot.number_value = value


def _continues(before: TrialResult, record: TrialResult) -> bool:
    """Whether a record only adds epochs, or an end, to an earlier version of itself."""
    same = record.epochs[: len(before.epochs)] == before.epochs
    return same and before.status in ("interrupted", record.status)


def _new_events(record: TrialResult, before: TrialResult | None) -> bytes:
    """What a record has more than an earlier version, which may be nothing."""
    known = 0 if before is None else len(before.epochs)
    events = list(_epoch_events(record.epochs, known, _begin(record)))
    if record.status != "interrupted" and (before is None or before.status == "interrupted"):
        good = record.status != "failed"
        status = Status.STATUS_SUCCESS if good else Status.STATUS_FAILURE
        end = _begin(record) + sum(row.seconds for row in record.epochs)
        info = SessionEndInfo(status=status, end_time_secs=end)
        events.append(_hparams_event("session_end_info", info, end))
    return _framed(events)


def _epoch_events(rows: Sequence[EpochRow], known: int, begin: float) -> Iterator[Event]:
    """One event per epoch after the ``known`` first ones, with every metric."""
    seconds = begin
    for place, row in enumerate(rows):
        seconds += row.seconds
        if place >= known:
            values = [Summary.Value(tag=t, simple_value=v) for t, v in row.metrics.items()]
            yield Event(wall_time=seconds, step=row.epoch, summary=Summary(value=values))


def _begin(record: TrialResult) -> float:
    """When a trial began, in seconds since 1970."""
    return datetime.fromisoformat(record.started).timestamp() if record.started else 0.0


def _hparams_event(name: str, info: Any, seconds: float) -> Event:
    """An event for the HPARAMS page."""
    content = HParamsPluginData(version=0, **{name: info}).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content)
    value = Summary.Value(tag=f"_hparams_/{name}", metadata=SummaryMetadata(plugin_data=plugin))
    return Event(wall_time=seconds, summary=Summary(value=[value]))


def _framed(events: Iterable[Event]) -> bytes:
    """Events as the TFRecords of a file; tensorboardX writes only to a path."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "events")
        writer = RecordWriter(str(path))
        for event in events:
            writer.write(event.SerializeToString())
        writer.close()
        return path.read_bytes()
