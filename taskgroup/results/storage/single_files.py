"""One file wherever it lies: on this machine or in a bucket."""

from taskgroup.results.storage.base import Storage, open_storage
from taskgroup.results.storage.places import Place, local_path, parent_of


def read_place(place: Place) -> bytes:
    """The content of one file, wherever it lies.

    Raises:
        DataError: It is missing or cannot be read.
        ConfigError: No filesystem has such an address.
    """
    storage, name = _split(place)
    return storage.read(name)


def write_place(place: Place, content: bytes | memoryview) -> None:
    """Write one file, wholly or not at all, wherever it lies, into a folder that is there.

    Raises:
        StorageError: The place is full, not ours to write, or gone.
        ConfigError: No filesystem has such an address.
    """
    storage, name = _split(place)
    storage.write(name, content)


def make_folder_of(place: Place) -> None:
    """Make the folder that a file is to lie in, with those above it.

    Raises:
        ResourceError: It cannot be made, or no storage answers.
        ConfigError: No filesystem has such an address.
    """
    storage, _ = _split(place)
    storage.make_root()


def exists(place: Place) -> bool:
    """Whether there is a file at a place.

    Raises:
        DataError: The storage cannot be reached.
        ConfigError: No filesystem has such an address.
    """
    storage, name = _split(place)
    return storage.exists(name)


def run_of(place: Place) -> tuple[str, str]:
    """The run directory that a checkpoint would lie in, and its name below that."""
    path = local_path(place)
    if path is not None:
        found = path.resolve()
        return str(found.parent.parent), f"{found.parent.name}/{found.name}"
    folder, name = parent_of(str(place))
    run, middle = parent_of(folder)
    return run, f"{middle}/{name}"


def _split(place: Place) -> tuple[Storage, str]:
    path = local_path(place)
    if path is not None:
        return open_storage(path.parent), path.name
    folder, name = parent_of(str(place))
    return open_storage(folder), name
