"""Reading and writing below one root folder: the only place that touches files of a run.

Everything goes through a pyarrow filesystem, so that another one can take its place.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from taskgroup.errors import ConfigError, DataError, ResourceError


@dataclass(frozen=True)
class Storage:
    """A root folder on a pyarrow filesystem; names are relative paths with forward slashes.

    Attributes:
        filesystem: Where the root lies.
        root: The root folder on it, without a trailing slash.
    """

    filesystem: fs.FileSystem
    root: str

    def full(self, name: str) -> str:
        """The path of ``name`` on the filesystem."""
        return f"{self.root}/{name}" if name else self.root

    def exists(self, name: str) -> bool:
        """Whether a file of that name is there."""
        return bool(self.filesystem.get_file_info(self.full(name)).type == fs.FileType.File)

    def names(self, folder: str, suffix: str) -> list[str]:
        """Names of the files in ``folder`` that end in ``suffix``, sorted; none if it is missing.

        Files that begin with a dot are being written, or were when the process died.
        """
        selector = fs.FileSelector(self.full(folder), allow_not_found=True)
        found = (info.base_name for info in self.filesystem.get_file_info(selector))
        return sorted(
            f"{folder}/{name}" if folder else name
            for name in found
            if name.endswith(suffix) and not name.startswith(".")
        )

    def read(self, name: str) -> bytes:
        """The whole content of a file.

        Raises:
            DataError: It is missing or cannot be read.
        """
        try:
            with self.filesystem.open_input_stream(self.full(name)) as stream:
                return bytes(stream.read())
        except OSError as error:
            problem = reason(error)
            raise DataError(f"{self.full(name)} must be a readable file: {problem}") from None

    def write(self, name: str, content: bytes) -> None:
        """Write a file that is either wholly there or not at all; an older one is replaced.

        Raises:
            ResourceError: The disk is full, read-only, or not ours to write.
        """
        folder = name.rpartition("/")[0]
        try:
            self.filesystem.create_dir(self.full(folder), recursive=True)
            if isinstance(self.filesystem, fs.LocalFileSystem):
                self._write_then_rename(name, content)
            else:
                self._put(self.full(name), content)
        except OSError as error:
            problem = reason(error)
            raise ResourceError(
                f"{self.full(name)} must be writable: {problem}; "
                "free space, change its permissions, or choose another run directory"
            ) from None

    def _write_then_rename(self, name: str, content: bytes) -> None:
        folder, _, base = name.rpartition("/")
        part = self.full(f"{folder}/" if folder else "") + f".{base}.{os.getpid()}.part"
        try:
            self._put(part, content)
            self.filesystem.move(part, self.full(name))
        except OSError:
            if self.filesystem.get_file_info(part).type == fs.FileType.File:
                self.filesystem.delete_file(part)
            raise

    def _put(self, path: str, content: bytes) -> None:
        with self.filesystem.open_output_stream(path) as stream:
            stream.write(content)


def local_storage(path: str | Path) -> Storage:
    """The storage of a local folder, which need not exist yet.

    Raises:
        ConfigError: ``path`` is an address such as ``s3://bucket/run``.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise ConfigError(f"a run directory must be a local path, got {path}; give a local folder")
    return Storage(fs.LocalFileSystem(), str(Path(path).absolute()))


def reason(error: OSError) -> str:
    """One line that says why an operating system call failed, without the path."""
    if error.errno is not None and 0 < error.errno < 200:
        return os.strerror(error.errno).lower()
    return " ".join(str(error).split())
