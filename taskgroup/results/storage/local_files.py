"""Folders and files on a local disk: there wholly, or not at all."""

import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from taskgroup.errors import ResourceError
from taskgroup.results.storage.places import reason

PART = ".part"
"""How the name of a file ends that is still being written."""


def make_folder(path: Path) -> bool:
    """Make a local folder with its parents; False if something stands there already.

    Raises:
        ResourceError: It cannot be made.
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


def _not_a_folder(path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"{path} must be a folder that can be made: {reason(error)}; "
        "change the permissions above it, or choose another run directory"
    )


def write_then_rename(path: Path, content: bytes | memoryview) -> None:
    """Write a neighbour of ``path``, wait until the disk has it, and rename it over ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(part)
        raise


@cache
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def link(source: Path, target: Path) -> None:
    """A hard link, since the source is replaced and never changed; a copy where there are none."""
    part = target.with_name(f".{target.name}.{os.getpid()}{PART}")
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:
        shutil.copyfile(source, part)
    os.replace(part, target)
    part.unlink(missing_ok=True)  # renaming one name of a file over another does nothing
