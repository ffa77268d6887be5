"""One search at a time in a run directory: a lock that vanishes with the process that holds it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskgroup.errors import ConfigError, ResourceError
from taskgroup.results.storage.places import reason

LOCK_FILE = "search.lock"


@contextmanager
def lock_directory(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of a local run directory.

    The operating system drops the lock when the process ends, however it ends, so that a killed
    search never blocks its own resumption. The file stays and says who held it last.

    Raises:
        ConfigError: Another search holds it.
        ResourceError: The folder cannot be written.
    """
    import fcntl

    path = folder / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ResourceError(
            f"{path} must be writable: {reason(error)}; "
            "change its permissions, or choose another run directory"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(_refusal(folder, descriptor)) from None
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _refusal(folder: Path, descriptor: int) -> str:
    holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
    return (
        f"{folder} must be used by one search at a time, but process {holder} is searching in it; "
        "wait for it to end, or choose another run directory"
    )
