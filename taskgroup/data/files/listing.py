"""Listing the files of a data set: nothing that should count is left out without a word."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from taskgroup.errors import DataError
from taskgroup.paths import is_folder, is_text, shown_path
from taskgroup.results.storage.places import reason

Endings = str | tuple[str, ...]
Above = Mapping[tuple[int, int], Path]
"""Folders by device and number on it."""


def files_in(folder: Path, endings: Endings) -> list[Path]:
    """Files right in a folder whose names end so, in any case, by name; hidden ones are left out.

    Args:
        folder: The folder; one that is missing has no files.
        endings: What names end in, in lower case.

    Raises:
        DataError: The folder cannot be read; a file's name is not UTF-8; or one is a link that
            leads nowhere.
    """
    return _content(folder, endings).files if is_folder(folder) else []


def files_below(folder: Path, endings: Endings) -> list[Path]:
    """The same, however deep: a folder's own files first, then those of its folders by name.

    Links to folders are followed.

    Raises:
        DataError: As for :func:`files_in`; or a link leads to a folder that it lies in.
    """
    found: list[Path] = []
    waiting: list[tuple[Path, Above]] = [(folder, {})] if is_folder(folder) else []
    while waiting:
        place, above = waiting.pop()
        content = _content(place, endings)
        found += content.files
        inside = _with_folder(above, place)
        waiting += [(child, inside) for child in reversed(content.folders)]
    return found


def subfolders(folder: Path) -> list[Path]:
    """Folders right in a folder by name, without hidden ones; none where it is missing.

    Raises:
        DataError: The folder cannot be read, or a name in it is not UTF-8.
    """
    return _content(folder, ()).folders if is_folder(folder) else []


def open_subfolders(folder: Path) -> list[Path]:
    """What :func:`subfolders` finds, for a search that passes over what is not open to it."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if _is_open_folder(entry))
    except OSError:
        return []
    return [folder / name for name in names if not name.startswith(".")]


@dataclass(frozen=True)
class _Content:
    files: list[Path]
    folders: list[Path]


def _content(folder: Path, endings: Endings) -> _Content:
    """What lies right in a folder and is not hidden, by name."""
    try:
        with os.scandir(folder) as entries:
            visible = sorted(
                (entry for entry in entries if not entry.name.startswith(".")),
                key=lambda entry: entry.name,
            )
    except OSError as error:
        raise DataError(
            f"{shown_path(folder)} must be a folder that can be read, but "
            f"{reason(error)}; change its permissions or move it away"
        ) from None
    return _Content(
        [folder / entry.name for entry in _files(visible, endings)],
        [folder / entry.name for entry in visible if _is_folder(entry)],
    )


def _files(entries: Sequence[os.DirEntry[str]], endings: Endings) -> Iterator["os.DirEntry[str]"]:
    for entry in entries:
        if endings and entry.name.lower().endswith(endings) and not _is_folder(entry):
            _check_name(entry)
            if entry.is_symlink() and not entry.is_file():
                raise DataError(
                    f"{shown_path(entry.path)} must be a file, but is a link that leads nowhere; "
                    "restore what it should lead to, or remove it"
                )
            if entry.is_file():
                yield entry


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        found = entry.is_dir()
    except OSError as error:
        raise DataError(
            f"{shown_path(entry.path)} must be a file or a folder, but "
            f"{reason(error)}; correct or remove it"
        ) from None
    if found:
        _check_name(entry)
    return found


def _is_open_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return is_text(entry.name) and entry.is_dir()
    except OSError:
        return False


def _check_name(entry: "os.DirEntry[str]") -> None:
    """Names of samples and classes go into records, which hold UTF-8."""
    if not is_text(entry.name):
        raise DataError(
            f"{shown_path(entry.path)} must have a name in UTF-8, but has bytes that are not; "
            "rename it (such as with convmv) or move it away"
        )


def _with_folder(above: Above, folder: Path) -> Above:
    """The folders above what lies in a folder; DataError where a link leads back to one of them."""
    status = folder.stat()
    itself = status.st_dev, status.st_ino
    if itself in above:
        raise DataError(
            f"{shown_path(folder)} must not lead back to {shown_path(above[itself])}, which it "
            "lies in; remove the link"
        )
    return {**above, itself: folder}
