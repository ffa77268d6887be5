"""Optuna's journal of a remote run: a local file, copied to the run directory now and then."""

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from taskgroup.errors import ResourceError
from taskgroup.results.storage.base import Storage

SECONDS = 60.0
"""Least time between two copies."""
GROWTH = 1.25
"""Least growth between two copies, so that all copies together stay a few times the last one."""


def scratch_folder(uri: str) -> Path:
    """The folder on this machine for what this process writes for a remote run."""
    code = hashlib.sha256(uri.encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"taskgroup-journal-{os.getpid()}-{code}"


@contextmanager
def copied_file(storage: Storage, path: Path) -> Iterator[None]:
    """Copy a local file to the storage while the block runs and when it ends; then remove it.

    A copy that fails is tried again later: the journal is rebuilt from the records anyway.

    Args:
        storage: Where the copies go, under the file's own name.
        path: The file; its folder is made here and removed at the end.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    stop = threading.Event()
    copier = threading.Thread(target=_copy_now_and_then, args=(storage, path, stop), daemon=True)
    copier.start()
    try:
        yield
    finally:
        stop.set()
        copier.join()
        _copy(storage, path)
        shutil.rmtree(path.parent, ignore_errors=True)


def _copy_now_and_then(storage: Storage, path: Path, stop: threading.Event) -> None:
    copied = 0
    while not stop.wait(SECONDS):
        size = path.stat().st_size if path.exists() else 0
        if size and (size < copied or size > copied * GROWTH):
            copied = _copy(storage, path)


def _copy(storage: Storage, path: Path) -> int:
    """Copy the file and return its size; 0 if there is none or no storage answers."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    with suppress(ResourceError):
        storage.write(path.name, content)
        return len(content)
    return 0
