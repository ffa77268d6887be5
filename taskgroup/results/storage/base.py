"""Reading and writing below one root folder: the only place that touches files of a run.

Local files appear by write-then-rename; files elsewhere by one upload, which object stores show
when it is complete. Either way a file is wholly there or not at all.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from pyarrow import ArrowException, fs

from taskgroup.errors import DataError, ResourceError, StorageError
from taskgroup.paths import is_folder
from taskgroup.results.storage.local_files import (
    PART,
    link,
    make_below,
    make_folder,
    write_then_rename,
)
from taskgroup.results.storage.places import (
    Place,
    connect,
    local_path,
    reason,
    why_unwritable,
    within,
)

THREADS = 32
"""Requests at once: a remote read waits for the network, not for this machine."""
LEFTOVER_SECONDS = 3600
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Storage:
    """A root folder on a pyarrow filesystem; names are relative paths with forward slashes.

    Attributes:
        filesystem: Where the root lies.
        root: The root folder on it, without a trailing slash.
        uri: How any other process reaches the root: an absolute path, or an address.
        place: The root as the reader wrote it, for messages.
    """

    filesystem: fs.FileSystem
    root: str
    uri: str
    place: str

    @property
    def folder(self) -> Path | None:
        """The root as a local folder, or None if it lies elsewhere."""
        return Path(self.root) if isinstance(self.filesystem, fs.LocalFileSystem) else None

    def full(self, name: str) -> str:
        """The place of ``name`` below the root as the reader wrote it, for messages."""
        return within(self.place, name) if name else self.place

    def exists(self, name: str) -> bool:
        """Whether a file of that name is there.

        Raises:
            DataError: The storage cannot be reached.
        """
        try:
            info = self.filesystem.get_file_info(self._on_it(name))
        except (OSError, ArrowException) as error:
            raise self._unreadable(name, error) from None
        return bool(info.type == fs.FileType.File)

    def names(self, folder: str, suffix: str) -> list[str]:
        """Names of the files in ``folder`` that end in ``suffix``, sorted; none if it is missing.

        Files that begin with a dot are being written, or were when the process died.

        Raises:
            DataError: The storage cannot be reached.
        """
        found = (info.base_name for info in self.listed(folder) if info.type == fs.FileType.File)
        return sorted(
            f"{folder}/{name}" if folder else name
            for name in found
            if name.endswith(suffix) and not name.startswith(".")
        )

    def listed(self, folder: str) -> list[fs.FileInfo]:
        """Everything right below ``folder``; nothing if it is missing.

        Raises:
            DataError: The storage cannot be reached, or has no such bucket.
        """
        selector = fs.FileSelector(self._on_it(folder), allow_not_found=True)
        try:
            found = list(self.filesystem.get_file_info(selector))
            if not found and not folder and _is_flat(self.filesystem):
                self._check_bucket()
        except (OSError, ArrowException) as error:
            raise self._unreadable(folder, error) from None
        return found

    def _check_bucket(self) -> None:
        bucket = self.root.partition("/")[0]
        if self.filesystem.get_file_info(bucket).type == fs.FileType.NotFound:
            raise FileNotFoundError(f"NO_SUCH_BUCKET: {bucket}")

    def read(self, name: str) -> bytes:
        """The whole content of a file.

        Raises:
            DataError: It is missing or cannot be read.
        """
        try:
            with self.filesystem.open_input_stream(self._on_it(name)) as stream:
                return bytes(stream.read())
        except (OSError, ArrowException) as error:
            raise self._unreadable(name, error) from None

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """``function`` of each item, at once where each waits for the network."""
        if self.folder is not None or len(items) < 2:
            return [function(item) for item in items]
        return list(_threads().map(function, items))

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """The contents of many files, read at once where they are remote.

        Raises:
            DataError: One is missing or cannot be read.
        """
        return self.map(self.read, names)

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Write a file that is either wholly there or not at all; an older one is replaced.

        A local root must be there: one that vanished is not made anew.

        Raises:
            StorageError: The disk is full, read-only, or not ours to write; the root is gone; or no
                storage answers.
        """
        try:
            self._write(name, content)
        except (OSError, ArrowException) as error:
            raise self._unwritable(name, error) from None

    def _write(self, name: str, content: bytes | memoryview) -> None:
        if self.folder is not None:
            make_below(self.folder, (self.folder / name).parent)
            write_then_rename(self.folder / name, content)
        else:
            # in a thread, so that Ctrl-C cannot end an upload half-way
            _threads().submit(self._put, self._on_it(name), content).result()

    def copy(self, source: str, target: str) -> None:
        """Give a file a second name, without moving its content; an older one is replaced.

        Raises:
            ResourceError: The place is not ours to write, or no storage answers.
        """
        try:
            if self.folder is not None:
                link(self.folder / source, self.folder / target)
            else:
                self.filesystem.copy_file(self._on_it(source), self._on_it(target))
        except (OSError, ArrowException) as error:
            raise self._unwritable(target, error) from None

    def check_writable(self) -> None:
        """Write a file and remove it again, where there is a root; else that can still be made.

        Raises:
            StorageError: The place is read-only or not ours to write; a full one may pass.
            DataError: It cannot be told whether there is a root.
        """
        if self.folder is not None and not is_folder(self.folder):
            return
        name = f".writable-{secrets.token_hex(8)}{PART}"
        try:
            self._write(name, b"")
        except (OSError, ArrowException) as error:
            raise self._unwritable("", error) from None
        self.delete(name)

    def make_folder(self, name: str) -> None:
        """Make a folder below the root, where storage has folders.

        Raises:
            StorageError: It cannot be made, or the root is gone.
        """
        if self.folder is None:
            return
        try:
            make_below(self.folder, self.folder / name)
        except OSError as error:
            raise self._unwritable(name, error) from None

    def delete(self, name: str) -> None:
        """Remove a file if it is there.

        Raises:
            ResourceError: The place is not ours to write, or no storage answers.
        """
        try:
            with suppress(FileNotFoundError):
                self.filesystem.delete_file(self._on_it(name))
        except (OSError, ArrowException) as error:
            raise self._unwritable(name, error) from None

    def clear_leftovers(self, folders: Iterable[str], *, older_than: float = 0.0) -> None:
        """Remove what killed processes were writing; uploads leave nothing behind.

        Args:
            folders: Where to look.
            older_than: Seconds since a leftover was last written to.
        """
        limit = time.time() - older_than
        for folder in folders if self.folder is not None else ():
            assert self.folder is not None
            for path in (self.folder / folder).glob(f".*{PART}"):
                with suppress(OSError):
                    if path.stat().st_mtime <= limit:
                        path.unlink()

    def make_root(self) -> bool:
        """Make the root with its parents; False if something lies there already.

        Raises:
            ResourceError: It cannot be made, or no storage answers.
        """
        if self.folder is not None:
            return make_folder(self.folder)
        try:
            return not self.listed("")
        except DataError as error:
            raise ResourceError(str(error)) from None

    def _put(self, path: str, content: bytes | memoryview) -> None:
        if not _is_flat(self.filesystem):
            self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        with self.filesystem.open_output_stream(path) as stream:
            stream.write(content)

    def _on_it(self, name: str) -> str:
        """The path of ``name`` on the filesystem."""
        return f"{self.root}/{name}" if name else self.root

    def _unreadable(self, name: str, error: Exception) -> DataError:
        return DataError(f"{self.full(name)} must be readable: {reason(_as_os_error(error))}")

    def _unwritable(self, name: str, error: Exception) -> StorageError:
        found = _as_os_error(error)
        if isinstance(found, FileNotFoundError) and self.folder and not self.folder.is_dir():
            return StorageError(
                f"{self.place} must stay where it is, but it is gone; bring it back"
            )
        return StorageError(f"{self.full(name)} must be writable: {why_unwritable(found)}")


def open_storage(place: Place) -> Storage:
    """The storage of a place, which need not exist yet; nothing is read or sent.

    Raises:
        ConfigError: No filesystem has such an address.
    """
    path = local_path(place)
    if path is not None:
        absolute = str(path.absolute())
        return Storage(fs.LocalFileSystem(), absolute, absolute, str(place))
    filesystem, root = connect(str(place))
    return Storage(filesystem, root, str(place), str(place))


def _is_flat(filesystem: fs.FileSystem) -> bool:
    """Whether the storage has objects only, and no folders to make."""
    return filesystem.type_name in ("s3", "gcs", "abfs")


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="taskgroup-storage")


def _as_os_error(error: Exception) -> OSError:
    return error if isinstance(error, OSError) else OSError(str(error))
