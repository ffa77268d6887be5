"""The run directory: everything that a study wrote, and the only way to write or read it.

Layout (``docs/records.md``)::

    space.yaml                 the search space as given
    study.journal              Optuna's journal, rebuilt from the records if lost
    trials/00000.parquet       one file per trial
    checkpoints/00000.pt       one file per trial
    evaluations/0001-....parquet    one file per run of ``evaluate``
    panels/0001-....parquet    the pictures that belong to it
    report.html                the report
"""

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa

from taskgroup.errors import ConfigError, DataError, ResourceError
from taskgroup.results import schema
from taskgroup.results.loaded import LoadedRun
from taskgroup.results.locking import lock_directory
from taskgroup.results.records import EvaluationRow, Panel, TrialResult
from taskgroup.results.storage import Storage, local_storage, reason

SPACE_FILE = "space.yaml"
DEFAULT_PARENT = Path("runs")


@dataclass(frozen=True)
class RunDirectory:
    """One run directory. Holds no state but its place: what is read is what lies there now.

    Attributes:
        path: The local folder.
        storage: How files below it are read and written.
    """

    path: Path
    storage: Storage

    @classmethod
    def create(cls, parent: str | Path, name: str, space_text: str) -> Self:
        """Make ``parent/name-1``, or the first number that is free, and write the space there.

        Raises:
            ConfigError: ``name`` cannot be the name of a folder.
            ResourceError: ``parent`` is not writable or the disk is full; nothing is left behind.
        """
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            raise ConfigError(
                f"name must be usable as the name of a folder, got {name!r}; take another"
            )
        number = 1
        while not _make_folder(Path(parent) / f"{name}-{number}"):
            number += 1
        return cls._begin(Path(parent) / f"{name}-{number}", space_text)

    @classmethod
    def create_at(cls, path: str | Path, space_text: str) -> Self:
        """Make the run directory ``path`` itself and write the space there.

        Raises:
            ConfigError: ``path`` exists and is not an empty folder.
            ResourceError: It is not writable or the disk is full; nothing is left behind.
        """
        path = Path(path)
        if not _make_folder(path) and (not path.is_dir() or any(path.iterdir())):
            raise ConfigError(
                f"a new run directory must not exist or be empty, but {path} is not; "
                "continue it with --resume, or choose another"
            )
        return cls._begin(path, space_text)

    @classmethod
    def _begin(cls, path: Path, space_text: str) -> Self:
        run = cls(path, local_storage(path))
        try:
            run.storage.write(SPACE_FILE, space_text.encode("utf-8"))
        except ResourceError:
            path.rmdir()
            raise
        return run

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """An existing run directory.

        Raises:
            DataError: There is none at ``path``.
        """
        run = cls(Path(path), local_storage(path))
        if not run.storage.exists(SPACE_FILE):
            raise DataError(
                f"{path} must be a run directory, but it has no {SPACE_FILE}; "
                "see what exists with: taskgroup runs list"
            )
        return run

    @property
    def name(self) -> str:
        """Name of the folder, which names the run for a reader."""
        return self.path.absolute().name

    @property
    def report_path(self) -> Path:
        """Where the report lies once it is written."""
        return self.path / "report.html"

    @property
    def journal_path(self) -> Path:
        """Where Optuna's journal lies."""
        return self.path / "study.journal"

    def checkpoint_path(self, number: int) -> Path:
        """Where the checkpoint of a trial lies once it is written; its folder is made here.

        Raises:
            ResourceError: The folder cannot be made.
        """
        _make_folder(self.path / "checkpoints")
        return self.path / "checkpoints" / f"{number:05d}.pt"

    def space_text(self) -> str:
        """The search space, as it was written."""
        return self.storage.read(SPACE_FILE).decode("utf-8", errors="replace")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other search out of this run directory.

        Raises:
            ConfigError: Another search is in it.
        """
        with lock_directory(self.path):
            yield

    def write_trial(self, result: TrialResult) -> None:
        """Write one trial; an older record of the same number is replaced.

        Raises:
            ResourceError: The disk is full or not writable.
        """
        table = schema.trials_to_table([result])
        self.storage.write(f"trials/{result.number:05d}.parquet", schema.encode(table))

    def trials_table(self) -> pa.Table:
        """Every trial as stored, one row each, by number; see ``docs/records.md``.

        Raises:
            DataError: A file is torn, foreign, or of another schema version.
        """
        tables = [
            schema.decode(self.storage.read(name), schema.TRIAL_SCHEMA, source=self._full(name))
            for name in self.storage.names("trials", ".parquet")
        ]
        return pa.concat_tables([schema.TRIAL_SCHEMA.empty_table(), *tables]).sort_by("number")

    def trials(self) -> list[TrialResult]:
        """Every trial, by number.

        Raises:
            DataError: A file is torn, foreign, or of another schema version.
        """
        table = self.trials_table()
        return schema.records(schema.table_to_trials, table, source=self._full("trials"))

    def write_evaluation(self, rows: Sequence[EvaluationRow], panels: Sequence[Panel] = ()) -> None:
        """Write what one run of ``evaluate`` found, pictures first.

        It stands for all earlier evaluations of the same trials from then on.

        Raises:
            ResourceError: The disk is full or not writable.
        """
        written = self.storage.names("evaluations", ".parquet")
        found = (re.match(r"evaluations/(\d+)-", name) for name in written)
        number = 1 + max((int(match[1]) for match in found if match), default=0)
        base = f"{number:04d}-{secrets.token_hex(4)}.parquet"
        if panels:
            self.storage.write(f"panels/{base}", schema.encode(schema.panels_to_table(panels)))
        self.storage.write(f"evaluations/{base}", schema.encode(schema.evaluations_to_table(rows)))

    def evaluations(self) -> list[EvaluationRow]:
        """The rows of each trial's latest evaluation on each split, in the order written.

        Raises:
            DataError: A file is torn, foreign, or of another schema version.
        """
        latest: dict[tuple[int, str, str], list[EvaluationRow]] = {}
        for name in self.storage.names("evaluations", ".parquet"):
            rows: dict[tuple[int, str, str], list[EvaluationRow]] = {}
            for row in self._evaluation(name):
                rows.setdefault((row.trial, row.label, row.split), []).append(row)
            latest.update(rows)
        return [row for rows in latest.values() for row in rows]

    def panels(self) -> list[Panel]:
        """The pictures of each trial's latest evaluation that kept any, in the order written.

        Raises:
            DataError: A file is torn, foreign, or of another schema version.
        """
        latest: dict[tuple[int, str], list[Panel]] = {}
        for name in self.storage.names("panels", ".parquet"):
            panels: dict[tuple[int, str], list[Panel]] = {}
            for panel in self._panels(name):
                panels.setdefault((panel.trial, panel.label), []).append(panel)
            latest.update(panels)
        return [panel for panels in latest.values() for panel in panels]

    def _evaluation(self, name: str) -> list[EvaluationRow]:
        source = self._full(name)
        table = schema.decode(self.storage.read(name), schema.EVALUATION_SCHEMA, source=source)
        return schema.records(schema.table_to_evaluations, table, source=source)

    def _panels(self, name: str) -> list[Panel]:
        source = self._full(name)
        table = schema.decode(self.storage.read(name), schema.PANEL_SCHEMA, source=source)
        return schema.records(schema.table_to_panels, table, source=source)

    def write_report(self, html: str) -> Path:
        """Write the report and return where it lies.

        Raises:
            ResourceError: The disk is full or not writable.
        """
        self.storage.write(self.report_path.name, html.encode("utf-8"))
        return self.report_path

    def _full(self, name: str) -> str:
        return str(self.path / name)


def _make_folder(path: Path) -> bool:
    """Make a folder with its parents; False if something stands there already."""
    local_storage(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError:
        if path.parent.is_dir():
            return False
        raise _not_writable(path, NotADirectoryError(20, "")) from None
    except OSError as error:
        raise _not_writable(path, error) from None
    return True


def _not_writable(path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"{path} must be a folder that can be made: {reason(error)}; "
        "change the permissions above it, or choose another run directory"
    )


def list_runs(parent: str | Path = DEFAULT_PARENT) -> list[RunDirectory]:
    """Every run directory right below ``parent``, oldest first; none if it does not exist."""
    folder = Path(parent)
    found = sorted(folder.glob(f"*/{SPACE_FILE}")) if folder.is_dir() else []
    found.sort(key=lambda space: space.stat().st_mtime_ns)
    return [RunDirectory.open(space.parent) for space in found]


def newest(parent: str | Path = DEFAULT_PARENT) -> RunDirectory:
    """The run directory below ``parent`` that was begun last.

    Raises:
        DataError: There is none.
    """
    runs = list_runs(parent)
    if not runs:
        raise DataError(
            f"{parent} must hold a run directory, but it has none; "
            "start one with: taskgroup search --space quickstart"
        )
    return runs[-1]


def load_run(path: str | Path | None = None) -> LoadedRun:
    """Read a run for a notebook.

    Args:
        path: The run directory; by default the newest below ``runs``.

    Raises:
        DataError: There is none, or one of its files is torn, foreign, or of another version.
    """
    run = RunDirectory.open(path) if path is not None else newest()
    return LoadedRun(run.path, tuple(run.trials()), tuple(run.evaluations()))
