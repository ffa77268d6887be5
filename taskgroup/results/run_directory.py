"""The run directory: everything that a study wrote, and the only way to write or read it.

Layout (``docs/records.md``)::

    space.yaml                 the search space as given
    study.journal              Optuna's journal, rebuilt from the records if lost
    trials/00000.parquet       one file per trial
    checkpoints/00000.pt       the newest epoch of each trial
    checkpoints/00000.best.pt  its best epoch
    evaluations/0001-....parquet    one file per run of ``evaluate``
    panels/0001-....parquet    the pictures that belong to it
    report.html                the report
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Literal, Self

import pyarrow as pa

from taskgroup.errors import ConfigError, DataError, ResourceError
from taskgroup.paths import is_folder
from taskgroup.results.record_files import EVALUATIONS, PANELS, or_left_out, write_records
from taskgroup.results.records import EvaluationRow, Panel, TrialResult
from taskgroup.results.records.codec import SCHEMA_VERSION, decode, to_table, version_of
from taskgroup.results.storage.base import LEFTOVER_SECONDS, Storage, open_storage
from taskgroup.results.storage.lease import hold_lease
from taskgroup.results.storage.locking import lock_directory
from taskgroup.results.storage.places import Place, within
from taskgroup.results.storage.snapshots import copied_file, scratch_folder

SPACE_FILE = "space.yaml"
JOURNAL_FILE = "study.journal"
REPORT_FILE = "report.html"
DEFAULT_PARENT = Path("runs")


def _is_used(path: Path) -> bool:
    """Whether something stands at a path that is no empty folder, or cannot be looked into."""
    try:
        return not is_folder(path) or any(path.iterdir())
    except OSError:
        return True


def trial_file(number: int) -> str:
    """Name of a trial's record below the run directory."""
    return f"trials/{number:05d}.parquet"


@dataclass(frozen=True)
class RunDirectory:
    """One run directory. Holds no state but its place: what is read is what lies there now.

    Attributes:
        place: Where it lies, as it was given: a path, or an address such as ``s3://bucket/run``.
        storage: How files below it are read and written.
    """

    place: str
    storage: Storage

    @classmethod
    def create(cls, parent: Place, name: str, space_text: str) -> Self:
        """Make ``parent/name-1``, or the first number that is free, and write the space there.

        Raises:
            ConfigError: ``name`` cannot be the name of a folder, or ``parent`` is no place.
            ResourceError: ``parent`` is not writable or the disk is full; nothing is left behind.
        """
        if not name or name.startswith(".") or re.search(r"[/\0?#]", name):
            raise ConfigError(
                f"name must be usable as the name of a folder, got {name!r}; take another"
            )
        number = 1
        while not (storage := open_storage(within(parent, f"{name}-{number}"))).make_root():
            number += 1
        return cls._begin(within(parent, f"{name}-{number}"), storage, space_text)

    @classmethod
    def create_at(cls, place: Place, space_text: str) -> Self:
        """Make the run directory ``place`` itself and write the space there.

        Raises:
            ConfigError: ``place`` exists and is not an empty folder, or is no place.
            ResourceError: It is not writable or the disk is full; nothing is left behind.
        """
        storage = open_storage(place)
        path = storage.folder
        if not storage.make_root() and (path is None or _is_used(path)):
            raise ConfigError(
                f"a new run directory must not exist or be empty, but {place} is not; "
                "continue it with --resume, or choose another"
            )
        return cls._begin(str(place), storage, space_text)

    @classmethod
    def _begin(cls, place: str, storage: Storage, space_text: str) -> Self:
        run = cls(place, storage)
        try:
            run.storage.write(SPACE_FILE, space_text.encode("utf-8"))
        except ResourceError:
            if storage.folder is not None:
                storage.folder.rmdir()
            raise
        return run

    @classmethod
    def open(cls, place: Place) -> Self:
        """An existing run directory.

        Raises:
            DataError: There is none at ``place``, or its storage cannot be reached.
            ConfigError: ``place`` is an address that no filesystem has.
        """
        run = cls(str(place), open_storage(place))
        if not run.is_there():
            folder = run.storage.folder
            lacking = folder is None or is_folder(folder)
            found = f"has no {SPACE_FILE}" if lacking else "does not exist"
            raise DataError(
                f"{place} must be a run directory, but {found}; "
                "see what exists with: taskgroup runs list"
            )
        return run

    def is_there(self) -> bool:
        """Whether the run directory exists, as it may not after a while.

        Raises:
            DataError: Its storage cannot be reached.
        """
        return self.storage.exists(SPACE_FILE)

    @property
    def uri(self) -> str:
        """How other processes and machines open it: an absolute path, or the address."""
        return self.storage.uri

    @property
    def name(self) -> str:
        """Name of the folder, which names the run for a reader."""
        return self.storage.root.rpartition("/")[2]

    @property
    def path(self) -> Path:
        """The folder of a local run, as it was given; only for those who know that it is local."""
        assert self.storage.folder is not None, f"{self.uri} is not local"
        return self.storage.folder if "://" in self.place else Path(self.place)

    def place_of(self, name: str) -> str:
        """Where a file of the run lies, for a reader and for ``single_files.read_place``."""
        return within(self.place, name)

    @property
    def report_path(self) -> str:
        """Where the report lies once it is written: a path, or an address."""
        return self.place_of(REPORT_FILE)

    @property
    def journal_path(self) -> Path:
        """The local file that Optuna's journal is written to.

        In a remote run it lies in this machine's temporary folder and is copied to the run
        directory now and then and at the end, while the lock is held: an object store cannot
        append, and the journal is rebuilt from the records anyway.
        """
        if self.storage.folder is not None:
            return self.path / JOURNAL_FILE
        return scratch_folder(self.uri) / JOURNAL_FILE

    def checkpoint_name(self, number: int, which: Literal["newest", "best"] = "newest") -> str:
        """Name of a trial's checkpoint below the run directory."""
        return f"checkpoints/{number:05d}{'' if which == 'newest' else '.best'}.pt"

    def checkpoint_path(self, number: int) -> Place:
        """Where the newest checkpoint of a trial lies once it is written.

        Returns:
            A path whose folder exists, or an address in a remote run.

        Raises:
            ResourceError: The folder cannot be made.
        """
        name = self.checkpoint_name(number)
        if self.storage.folder is None:
            return self.place_of(name)
        self.storage.make_folder("checkpoints")
        return self.path / name

    def keep_best(self, number: int) -> None:
        """Make the newest checkpoint of a trial its best one.

        Raises:
            ResourceError: The disk is full or not writable.
        """
        self.storage.copy(self.checkpoint_name(number), self.checkpoint_name(number, "best"))

    def drop_best(self, number: int) -> None:
        """Forget the best checkpoint of a trial that starts over.

        Raises:
            ResourceError: The place is not ours to write.
        """
        self.storage.delete(self.checkpoint_name(number, "best"))

    def space_text(self) -> str:
        """The search space, as it was written."""
        return self.storage.read(SPACE_FILE).decode("utf-8", errors="replace")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other search out of this run directory, and clear what a killed one left.

        Raises:
            ConfigError: Another search is in it.
        """
        local = self.storage.folder is not None
        with lock_directory(self.path) if local else hold_lease(self.storage):
            self.storage.clear_leftovers(("", "trials", "checkpoints"))
            self.storage.clear_leftovers(("evaluations", "panels"), older_than=LEFTOVER_SECONDS)
            with nullcontext() if local else copied_file(self.storage, self.journal_path):
                yield

    def write_trial(self, result: TrialResult) -> None:
        """Write one trial; an older record of the same number is replaced.

        Raises:
            ResourceError: The disk is full or not writable.
        """
        write_records(self.storage, trial_file(result.number), TrialResult, [result])

    def drop_trial(self, number: int) -> None:
        """Forget a trial that runs anew: its record and its checkpoints.

        Raises:
            ResourceError: The place is not ours to write.
        """
        self.storage.delete(trial_file(number))
        self.storage.delete(self.checkpoint_name(number))
        self.drop_best(number)

    def trials_table(self) -> pa.Table:
        """Every trial, one row each, by number, with every column that any file has.

        A file that lacks one of ``docs/records.md`` has its default there, else null.

        Raises:
            DataError: The storage cannot be reached, or a column that this version does not know
                has types in two files that have nothing in common.
        """
        return to_table(TrialResult, self.trials())

    def trials(self) -> list[TrialResult]:
        """Every trial, by number.

        A file that is torn or foreign, lacks a column that it needs, or holds the trial of another
        file is named in a warning and left out.

        Raises:
            DataError: The storage cannot be reached.
        """
        names = self._trial_files()
        found = [
            or_left_out(partial(self._trial, name, content))
            for name, content in zip(names, self.storage.read_all(names), strict=True)
        ]
        return sorted((one for one in found if one is not None), key=attrgetter("number"))

    def oldest_version(self) -> int:
        """The lowest version of the schema among the records of trials; today's without any."""
        names = self._trial_files()
        files = zip(names, self.storage.read_all(names), strict=True)
        found = [version_of(content) for name, content in files if self._is_intact(name, content)]
        return min(found, default=SCHEMA_VERSION)

    def _is_intact(self, name: str, content: bytes) -> bool:
        return or_left_out(partial(self._trial, name, content)) is not None

    def next_number(self) -> int:
        """The number of a new trial: above all others, those of damaged records included."""
        taken = (re.fullmatch(r"trials/(\d+)\.parquet", name) for name in self._trial_files())
        return 1 + max((int(match[1]) for match in taken if match), default=-1)

    def _trial_files(self) -> list[str]:
        return self.storage.names("trials", ".parquet")

    def _trial(self, name: str, content: bytes) -> TrialResult:
        trials = decode(TrialResult, content, source=self.place_of(name))
        if len(trials) != 1:
            raise DataError(
                f"{self.place_of(name)} must hold one trial, but holds {len(trials)}; move it away"
            )
        own_name = trial_file(trials[0].number)
        if name != own_name:
            raise DataError(
                f"{self.place_of(name)} must hold the trial that it is named after, but holds "
                f"trial {trials[0].number}, which belongs in {own_name}; move it away if it is "
                "a copy, else rename it"
            )
        return trials[0]

    def write_evaluation(self, rows: Sequence[EvaluationRow], panels: Sequence[Panel] = ()) -> None:
        """Write what one run of ``evaluate`` found, pictures first.

        It stands for all earlier evaluations of the same trials from then on.

        Raises:
            ResourceError: The disk is full or not writable.
        """
        base = EVALUATIONS.next_base(self.storage)
        if panels:
            PANELS.write(self.storage, panels, base=base)
        EVALUATIONS.write(self.storage, rows, base=base)

    def evaluations(self) -> list[EvaluationRow]:
        """The rows of each trial's latest evaluation on each split, in the order written.

        Raises:
            DataError: The storage cannot be reached.
        """
        return EVALUATIONS.latest(self.storage)

    def panels(self) -> list[Panel]:
        """The pictures of each trial's latest evaluation that kept any, in the order written.

        Raises:
            DataError: The storage cannot be reached.
        """
        return PANELS.latest(self.storage)

    def write_report(self, html: str) -> str:
        """Write the report and return where it lies.

        Raises:
            ResourceError: The disk is full or not writable.
        """
        self.storage.write(REPORT_FILE, html.encode("utf-8"))
        return self.report_path
