"""Folders and files on a local disk: there wholly, or not at all."""

import errno
import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from taskgroup.errors import StorageError
from taskgroup.results.storage.places import reason

PART = ".part"
"""How the name of a file ends that is still being written."""
SMALL = 1 << 16
"""Bytes up to which a file is small: a trial's record is, a checkpoint is not."""
ROOM = 1 << 20
"""Bytes that files which are not small leave free, so that on a disk that they filled the small
ones can still say what happened."""


def make_folder(path: Path) -> bool:
    """Make a local folder with its parents; False if something stands there already.

    Raises:
        StorageError: It cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError:
        if path.parent.is_dir():
            return False
        raise _not_a_folder(path, NotADirectoryError(20, "")) from None
    except OSError as error:
        raise _not_a_folder(path, error) from None
    return True


def _not_a_folder(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} must be a folder that can be made: {reason(error)}; "
        "change the permissions above it, or choose another run directory"
    )


def make_below(root: Path, folder: Path) -> None:
    """Make a folder below a root that must be there: what vanished is never made anew, empty.

    Raises:
        OSError: The root is gone or no folder, or the folder cannot be made.
    """
    if not root.is_dir():
        problem = errno.ENOTDIR if root.exists() else errno.ENOENT
        raise OSError(problem, os.strerror(problem), str(root))
    folder.mkdir(parents=True, exist_ok=True)


def write_then_rename(path: Path, content: bytes | memoryview) -> None:
    """Write a neighbour of ``path``, wait until the disk has it, and rename it over ``path``.

    Raises:
        OSError: The folder is missing, or the disk is full; for a file that is not small it is full
            where less than :data:`ROOM` would be left.
    """
    size = len(content)
    _check_room(path.parent, size, left_by=size)
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _check_room(path.parent, 0, left_by=size)  # others may have written meanwhile
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(part)
        raise


def _check_room(folder: Path, wanted: int, *, left_by: int) -> None:
    """Raise OSError unless ``wanted`` bytes leave what a file of ``left_by`` bytes must leave."""
    if left_by > SMALL:
        usage = shutil.disk_usage(folder)
        if usage.total and usage.free < wanted + ROOM:  # a file system that tells nothing says 0
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@cache
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def link(source: Path, target: Path) -> None:
    """A hard link, since the source is replaced and never changed; a copy where there are none.

    Raises:
        OSError: There is no source, or no space for a copy.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}{PART}")
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:
        write_then_rename(target, source.read_bytes())
        return
    os.replace(part, target)
    part.unlink(missing_ok=True)  # renaming one name of a file over another does nothing
