"""Optuna's journal without waiting for the disk.

Optuna syncs every line it writes, some twenty a trial. The records are the truth and the journal is
rebuilt from them, and the run directory's lock keeps other writers out, so neither a sync nor
Optuna's own lock is needed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from taskgroup.errors import ResourceError
from taskgroup.results.places import reason


class UnsyncedJournal(JournalFileBackend):
    """A journal file with one writer, which ``optuna-dashboard`` reads like any other."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Append a line per log.

        Raises:
            ResourceError: The disk is full or not writable.
        """
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        try:
            with self._path.open("ab") as file:
                file.write(lines.encode())
        except OSError as error:
            raise ResourceError(
                f"{self._path} must be writable: {reason(error)}; free space, or go on in "
                "another place with a copy of the run directory"
            ) from None
