"""Fetching published files: checked against their checksums, in place only when whole."""

import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import md5
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from taskgroup.errors import DataError, StorageError

CHUNK = 1 << 20
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Download:
    """Where a data set's files are published.

    Attributes:
        folder: Folder below the root that appears when all is there.
        files: MD5 checksum by address; the authors publish no stronger one.
        is_archive: Whether the files are tar archives that hold ``folder``.
    """

    folder: str
    files: Mapping[str, str]
    is_archive: bool = True


def fetch(download: Download, root: Path) -> Path:
    """Fetch a data set's files; ``root`` gets the whole folder in one rename, or nothing.

    Args:
        download: What to fetch.
        root: Folder to put it in; made if it does not exist.

    Returns:
        The new folder.

    Raises:
        DataError: The source cannot be reached, or sends something else than it published.
        StorageError: The folder cannot be written, or the disk is full.
    """
    target = root / download.folder
    if target.is_dir() and any(target.iterdir()):
        raise DataError(
            f"{target} must be absent or empty before its files are fetched, but holds others; "
            "complete it or remove it"
        )
    parent = next(folder for folder in (root, *root.parents) if folder.is_dir())
    with _writing(root), TemporaryDirectory(prefix=".download-", dir=parent) as temporary:
        staged = Path(temporary) / "files"
        (staged / download.folder).mkdir(parents=True)
        for address, checksum in download.files.items():
            path = Path(temporary) / address.rsplit("/", 1)[-1]
            _fetch_file(address, path, checksum)
            if download.is_archive:
                _extract(path, staged)
            else:
                path.rename(staged / download.folder / path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        _put(staged / download.folder, target)
    return target


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"dataset.download must be able to write to {root}, but {error.strerror or error}; "
            "free space there or choose another dataset.root"
        ) from None


def _fetch_file(address: str, path: Path, checksum: str) -> None:
    """Write one address to a file and check it."""
    digest = md5(usedforsecurity=False)
    with path.open("wb") as file:
        for chunk in _chunks(address):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != checksum:
        raise DataError(
            f"{address} must send a file with MD5 {checksum}, got {digest.hexdigest()} "
            f"({path.stat().st_size} bytes); try again, the transfer may have been cut short"
        )


def _chunks(address: str) -> Iterator[bytes]:
    """What an address sends, piece by piece."""
    try:
        with urlopen(address, timeout=TIMEOUT_SECONDS) as response:
            while chunk := response.read(CHUNK):
                yield chunk
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{address} must be reachable for dataset.download, but {reason}; "
            "try again or put the files below dataset.root yourself"
        ) from None


def _extract(path: Path, folder: Path) -> None:
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise DataError(
            f"{path.name} must be a whole tar archive, but {error}; try again"
        ) from None


def _put(folder: Path, target: Path) -> None:
    """Rename into place; where another process was faster its files stay."""
    if target.is_dir() and not any(target.iterdir()):
        target.rmdir()
    try:
        os.rename(folder, target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(folder)
