"""Finding a data set's files below a folder, by the marker files of its original layout."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from taskgroup.data.files.listing import open_subfolders
from taskgroup.errors import DataError
from taskgroup.paths import is_folder, is_text, shown_path

ENVIRONMENT = "TASKGROUP_DATA"
"""Environment variable that names the folder searched where ``root`` is left out."""
SEARCH_DEPTH = 2
"""Folder levels below the root that are searched."""
SHOWN_ENTRIES = 5


@dataclass(frozen=True)
class Layout:
    """How a data set looks on disk.

    Attributes:
        name: Registry name of the data set.
        markers: Paths or glob patterns that all stand in the data set's folder.
        folders: Where that folder may stand, relative to a searched one.
        root_folders: The same, relative to a root that the reader named; for layouts whose
            folder cannot be told from another data set's by its files.
    """

    name: str
    markers: tuple[str, ...]
    folders: tuple[str, ...] = (".",)
    root_folders: tuple[str, ...] = ()

    def missing(self, folder: Path) -> list[str]:
        """The markers that ``folder`` lacks."""
        return [marker for marker in self.markers if next(folder.glob(marker), None) is None]


def data_folder() -> Path | None:
    """The folder that ``TASKGROUP_DATA`` names, absolute, or None where it is unset or empty.

    Raises:
        DataError: The name is not UTF-8.
    """
    named = os.environ.get(ENVIRONMENT)
    if named and not is_text(named):
        raise DataError(f"{ENVIRONMENT} must be UTF-8, got {shown_path(named)}; rename that folder")
    return Path(named).expanduser().absolute() if named else None


def find_layout(layout: Layout, root: Path | None, *, advice: str = "") -> Path:
    """The folder nearest to the root that has every marker; among equals the first by name.

    Args:
        layout: What to look for.
        root: Folder to search, two levels down; None searches ``TASKGROUP_DATA``.
        advice: What else the reader can do, put behind the message ("set download: true").

    Raises:
        DataError: One line: what was expected where, what was found, what to do.
    """
    searched, key = (root, "dataset.root") if root is not None else (data_folder(), ENVIRONMENT)
    if searched is None:
        raise DataError(
            f"data set {layout.name!r} needs its files ({_expected(layout)}): "
            f"set dataset.root or {ENVIRONMENT} to their folder{advice}"
        )
    if not is_folder(searched):
        raise DataError(
            f"{key} must be the folder of data set {layout.name!r}, but there is no folder "
            f"{shown_path(searched)}; correct it{advice}"
        )
    candidates = list(_candidates(layout, searched, named=root is not None))
    found = next((folder for folder in candidates if not layout.missing(folder)), None)
    if found is None:
        raise DataError(_not_found(layout, searched, candidates, key) + advice)
    return found


def _candidates(layout: Layout, root: Path, *, named: bool) -> Iterator[Path]:
    """Folders to look at, nearest first."""
    if named:
        yield from (root / folder for folder in layout.root_folders)
    for place in _descend(root, SEARCH_DEPTH):
        yield from (place / folder for folder in layout.folders)


def _descend(root: Path, depth: int) -> Iterator[Path]:
    """The root, then its sub-folders by name, then theirs; hidden and closed ones are left out."""
    level = [root]
    for _ in range(depth):
        yield from level
        level = [child for folder in level for child in open_subfolders(folder)]
    yield from level


def _expected(layout: Layout) -> str:
    place = "" if layout.folders == (".",) else f" in {' or '.join(layout.folders)}"
    return ", ".join(layout.markers) + place


def _not_found(layout: Layout, root: Path, candidates: list[Path], key: str) -> str:
    """What was expected, and either the nearest incomplete folder or what the root holds."""
    expected = (
        f"data set {layout.name!r} must have {_expected(layout)} "
        f"in {root} or at most {SEARCH_DEPTH} folders below it; "
    )
    nearest = min(candidates, key=lambda folder: len(layout.missing(folder)))
    lacking = layout.missing(nearest)
    if len(lacking) < len(layout.markers):
        return f"{expected}found {nearest} without {', '.join(lacking)}; complete it"
    entries = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    shown = ", ".join(entries[:SHOWN_ENTRIES]) or "nothing"
    more = ", ..." if len(entries) > SHOWN_ENTRIES else ""
    return f"{expected}found {shown}{more}; correct {key}"
