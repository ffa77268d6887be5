"""Optuna's journal with one writer: no waiting for the disk, no looking through all trials.

Optuna syncs every line it writes, some twenty a trial. The records are the truth and the journal is
rebuilt from them, and the run directory's lock keeps other writers out, so neither a sync nor
Optuna's own lock is needed.
"""

import json
import os
from collections.abc import Container, Generator, Sequence
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from taskgroup.errors import StorageError
from taskgroup.results.storage.places import reason, why_unwritable


class UnsyncedJournal(JournalFileBackend):
    """A journal file with one writer, which ``optuna-dashboard`` reads like any other."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Append a line per log; a file that vanished is not made anew, without its first lines.

        Raises:
            StorageError: The disk is full or not writable, or the file is gone.
        """
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        try:
            with self._path.open("r+b") as file:
                file.seek(0, os.SEEK_END)
                file.write(lines.encode())
        except OSError as error:
            raise StorageError(f"{self._path} must be writable: {why_unwritable(error)}") from None

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """The logs from a number on.

        Raises:
            StorageError: The file is gone or cannot be read.
        """
        try:
            yield from super().read_logs(log_number_from)
        except OSError as error:
            raise StorageError(f"{self._path} must be readable: {reason(error)}") from None


class StudyStorage(JournalStorage):
    """Storage in a new journal, which knows by itself which trials wait to be asked for."""

    def __init__(self, path: Path) -> None:
        """Begin a journal.

        Args:
            path: Its file, which has no trial yet.
        """
        super().__init__(UnsyncedJournal(path))
        self._waiting: list[int] = []

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Enter a trial; one that waits is remembered."""
        trial_id = super().create_new_trial(study_id, template_trial)
        if template_trial is not None and template_trial.state == TrialState.WAITING:
            self._waiting.append(trial_id)
        return trial_id

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Trials in some states; those that wait, asked for before each new one, at no cost."""
        if deepcopy or states != (TrialState.WAITING,):
            return super().get_all_trials(study_id, deepcopy, states)
        known = [self.get_trial(trial_id) for trial_id in self._waiting]
        found = [trial for trial in known if trial.state == TrialState.WAITING]
        self._waiting = [trial._trial_id for trial in found]
        return found
