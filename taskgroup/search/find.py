"""Where search spaces are looked for, and the list of those found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskgroup.config import read_yaml
from taskgroup.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rich.table import Table

PACKAGE = Path(__file__).resolve().parent.parent


def space_folders() -> tuple[Path, ...]:
    """Folders searched for a bare name, first hit wins: here, the wheel's copy, the checkout's."""
    return (Path("search_spaces"), PACKAGE / "search_spaces", PACKAGE.parent / "search_spaces")


def list_spaces() -> dict[str, Path]:
    """Every space that a bare name finds, by name."""
    found: dict[str, Path] = {}
    for folder in space_folders():
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def find_space(space: str | Path) -> Path:
    """The YAML file that a path or a bare name means.

    Raises:
        DataError: Neither a file of that path nor a space of that name exists.
    """
    path = Path(space)
    if path.is_file():
        return path
    known = list_spaces()
    if str(space) in known:
        return known[str(space)]
    near = get_close_matches(str(space), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise DataError(
        f"a space must be a YAML file or one of: {', '.join(known) or 'none'}; "
        f"{hint}got {str(space)!r}"
    )


@dataclass(frozen=True)
class SpacesTable:
    """What ``taskgroup spaces list`` shows.

    Attributes:
        rows: ``name``, ``main task``, ``data set``, ``trials``, ``description``, ``path`` each.
    """

    rows: Sequence[Mapping[str, Any]]

    def to_json(self) -> list[dict[str, Any]]:
        """One object per space."""
        return [dict(row) for row in self.rows]

    def to_rich(self) -> "Table":
        """The same as a table for a terminal, without paths."""
        from taskgroup.search.table import plain_table

        columns = ("name", "data set", "main task", "trials", "description")
        return plain_table(columns, [[str(row[name]) for name in columns] for row in self.rows])


def spaces_table() -> SpacesTable:
    """Every space found, with what it searches; a broken file says so in its description."""
    return SpacesTable([_row(name, path) for name, path in list_spaces().items()])


def _row(name: str, path: Path) -> dict[str, Any]:
    try:
        values = read_yaml(path)
    except (ConfigError, DataError) as error:
        values = {"description": f"broken: {error}"}
    return {
        "name": name,
        "data set": _inner(values, "dataset", "name"),
        "main task": values.get("main_task", "-"),
        "trials": _inner(values, "search", "trials"),
        "description": values.get("description", ""),
        "path": str(path),
    }


def _inner(values: Mapping[str, Any], section: str, key: str) -> object:
    inner = values.get(section)
    return inner.get(key, "-") if isinstance(inner, Mapping) else "-"
