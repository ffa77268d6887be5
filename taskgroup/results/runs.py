"""Run directories below one folder."""

from taskgroup.errors import DataError
from taskgroup.results.run_directory import DEFAULT_PARENT, SPACE_FILE, RunDirectory
from taskgroup.results.storage.base import open_storage
from taskgroup.results.storage.places import Place, within


def list_runs(parent: Place = DEFAULT_PARENT) -> list[RunDirectory]:
    """Every run directory right below ``parent``, oldest first; none if it does not exist.

    Raises:
        DataError: The storage cannot be reached.
        ConfigError: ``parent`` is an address that no filesystem has.
    """
    storage = open_storage(parent)
    names = [info.base_name for info in storage.listed("") if not info.is_file]

    def begun(name: str) -> int | None:
        files = storage.listed(name)
        found = [info.mtime_ns for info in files if info.base_name == SPACE_FILE]
        return found[0] if found else None

    dated = zip(storage.map(begun, names), names, strict=True)
    found = sorted((time, name) for time, name in dated if time is not None)
    places = [(name, within(parent, name)) for _, name in found]
    return [RunDirectory(place, open_storage(place)) for _, place in places]


def newest(parent: Place = DEFAULT_PARENT) -> RunDirectory:
    """The run directory below ``parent`` that was begun last.

    Raises:
        DataError: There is none.
    """
    runs = list_runs(parent)
    if not runs:
        raise DataError(
            f"{parent} must hold a run directory, but it has none; "
            "start one with: taskgroup search --space quickstart"
        )
    return runs[-1]
