"""Where rendered scenes are kept, and how several processes share one folder of them.

An entry is a folder of ``.npy`` files, one per picture or label, named after what it holds: a
digest of seed, split, size and the renderer's own source, then the number of samples. It is
written beside its final place and renamed, so it is there whole or not at all; a lock lets one
process render what several ask for. Entries of older renderers are never read again and may be
deleted at any time.
"""

import json
import os
import shutil
import tempfile
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from logging import getLogger
from pathlib import Path

import numpy as np
from filelock import FileLock
from platformdirs import user_cache_path

from taskgroup.data import label_free
from taskgroup.data.scenes import (
    casting,
    labels,
    layout,
    random_stream,
    render,
    shading,
    shapes,
    textures,
)
from taskgroup.data.scenes.render import STORED
from taskgroup.data.scenes.writing import SceneRequest, entry_bytes, helpers_worth, write_entry
from taskgroup.errors import ResourceError, StorageError

CACHE_VARIABLE = "TASKGROUP_CACHE"
"""Environment variable that overrides the cache folder."""

RENDERER = (
    random_stream,
    shapes,
    layout,
    textures,
    casting,
    shading,
    labels,
    render,
    label_free,
)
"""Modules whose source decides what a sample is."""

_log = getLogger(__name__)


def cache_folder() -> Path:
    """The user's cache folder: ``TASKGROUP_CACHE``, or the platform's own with ``taskgroup``.

    Raises:
        ResourceError: This user has no home folder, and nothing else is named.
    """
    own = os.environ.get(CACHE_VARIABLE)
    try:
        return Path(own).expanduser() if own else user_cache_path("taskgroup", appauthor=False)
    except RuntimeError:
        raise ResourceError(
            f"a home folder is needed to keep scenes in, but this user has none; "
            f"name a folder in {CACHE_VARIABLE}"
        ) from None


def open_stored(request: SceneRequest, folder: Path | None = None) -> Path:
    """The complete cache folder that holds what is asked for, rendered now if it is not there.

    Args:
        request: What is asked for; a folder with more samples of the same stream serves as well.
        folder: The cache folder; by default :func:`cache_folder`.

    Raises:
        StorageError: The cache folder is full or cannot be written.
    """
    parent = (cache_folder() if folder is None else folder) / "scenes"
    try:
        return _find(parent, request) or _render(parent, request)
    except OSError as error:
        needed = entry_bytes(request) / 1e6
        raise StorageError(
            f"the cache folder {parent} must be writable and have room for {needed:.0f} MB of "
            f"scenes, but: {error.strerror or error}; free some space, ask for fewer or smaller "
            f"scenes, or name another folder in {CACHE_VARIABLE}"
        ) from None


def digest(request: SceneRequest) -> str:
    """Name of a stream of scenes: all that the content follows from, except the count."""
    content = {"seed": request.seed, "split": request.split, "size": request.size}
    text = json.dumps([content, renderer_version()], sort_keys=True)
    return sha256(text.encode()).hexdigest()[:20]


@lru_cache(maxsize=1)
def renderer_version() -> str:
    """Digest of the renderer's source and of numpy's version, whose random streams it uses."""
    files = [Path(str(module.__file__)) for module in RENDERER]
    source = b"".join(path.read_bytes() for path in files)
    return sha256(source + np.__version__.encode()).hexdigest()[:20]


def _find(parent: Path, request: SceneRequest) -> Path | None:
    """The smallest complete entry with enough samples, if there is one."""
    found = []
    for entry in parent.glob(f"{digest(request)}-*"):
        with suppress(ValueError):
            found.append((int(entry.name.rpartition("-")[2]), entry))
    for count, entry in sorted(found):
        if count >= request.count and _is_complete(entry, request.size, count):
            return entry
    return None


def _is_complete(entry: Path, size: int, count: int) -> bool:
    """Whether every file of an entry is there and as long as its header says."""
    for name, form in STORED.items():
        try:
            array = np.load(entry / f"{name}.npy", mmap_mode="r")
        except (OSError, ValueError, EOFError):
            return False
        if array.shape != (count, *form.shape(size)) or array.dtype != form.dtype:
            return False
    return True


def _render(parent: Path, request: SceneRequest) -> Path:
    """Render an entry, or wait for another process that is rendering it."""
    parent.mkdir(parents=True, exist_ok=True)
    with FileLock(parent / f"{digest(request)}.lock"):
        found = _find(parent, request)
        if found is not None:
            return found
        for abandoned in parent.glob(f".{digest(request)}-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        _check_room(parent, request)
        _log.info("rendering %d scenes into %s", request.count, parent)
        draft = Path(tempfile.mkdtemp(prefix=f".{digest(request)}-", dir=parent))
        try:
            write_entry(draft, request, helpers=helpers_worth(request))
            return _publish(draft, parent / f"{digest(request)}-{request.count}")
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _check_room(parent: Path, request: SceneRequest) -> None:
    free, needed = shutil.disk_usage(parent).free, entry_bytes(request)
    if free < needed:
        raise OSError(None, f"{free / 1e6:.0f} MB are free")


def _publish(draft: Path, entry: Path) -> Path:
    """Rename a finished draft to its final name; a damaged entry there gives way to it."""
    draft.chmod(0o755)
    if entry.exists():
        shutil.rmtree(entry)
    return draft.rename(entry)
