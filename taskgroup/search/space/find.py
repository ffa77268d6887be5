"""Where search spaces are looked for."""

from difflib import get_close_matches
from pathlib import Path

from taskgroup.errors import DataError
from taskgroup.paths import is_file

PACKAGE = Path(__file__).resolve().parents[2]


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
    if is_file(path):
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
