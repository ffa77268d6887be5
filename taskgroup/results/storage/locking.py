"""One search at a time in a run directory: a lock that vanishes with the process that holds it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from taskgroup.errors import ConfigError, StorageError
from taskgroup.results.storage.places import why_unwritable

LOCK_FILE = "search.lock"


@contextmanager
def lock_directory(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of a local run directory.

    The operating system drops the lock when the process ends, however it ends, so that a killed
    search never blocks its own resumption. The file may stay and say who held it last.

    Raises:
        ConfigError: Another search holds it.
        StorageError: The folder cannot be written.
    """
    from filelock import FileLock, Timeout  # who only reads a run needs none

    path = folder / LOCK_FILE
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ConfigError(_refusal(folder, path)) from None
    except OSError as error:
        raise StorageError(f"{path} must be writable: {why_unwritable(error)}") from None
    try:
        with suppress(OSError):  # Windows lets nobody write to a locked file
            path.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()


def _refusal(folder: Path, path: Path) -> str:
    holder = ""
    with suppress(OSError, UnicodeDecodeError):
        holder = path.read_text().strip()
    return (
        f"{folder} can be used by only one search at a time, and "
        f"{f'process {holder}' if holder else 'another process'} is using it; "
        "wait until that one ends, or choose another run directory"
    )
