"""The table of search spaces, from their files alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taskgroup.analysis.tables.base import Row, Table
from taskgroup.config import read_yaml
from taskgroup.errors import ConfigError, DataError
from taskgroup.wording import MISSING

COLUMNS = ("name", "data set", "main task", "trials", "description")


def spaces_table(spaces: Mapping[str, Path]) -> Table:
    """What each space searches; a broken file says so in its description.

    Args:
        spaces: Path of each space's YAML by name.
    """
    rows = tuple(_row(name, path) for name, path in spaces.items())
    return Table(COLUMNS, frozenset({COLUMNS.index("trials")}), rows)


def _row(name: str, path: Path) -> Row:
    try:
        values = read_yaml(path)
    except (ConfigError, DataError) as error:
        values = {"description": f"broken: {error}"}
    data = {
        "name": name,
        "data set": _inner(values, "dataset", "name"),
        "main task": values.get("main_task", MISSING),
        "trials": _inner(values, "search", "trials"),
        "description": values.get("description") or MISSING,
        "path": str(path),
    }
    return Row(tuple(str(data[column]) for column in COLUMNS), data)


def _inner(values: Mapping[str, Any], section: str, key: str) -> object:
    inner = values.get(section)
    return inner.get(key, MISSING) if isinstance(inner, Mapping) else MISSING
