"""What large files leave on a disk, and what becomes of a folder that vanished."""

import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from taskgroup.errors import StorageError
from taskgroup.results.storage.base import Storage, open_storage
from taskgroup.results.storage.local_files import ROOM, SMALL

Usage = namedtuple("Usage", ["total", "used", "free"])
LARGE = bytes(4 * SMALL)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = open_storage(tmp_path / "run")
    storage.make_root()
    return storage


@pytest.fixture
def leave(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the disk say how much is free: one number for each time it is asked."""

    def leave(*free: int, total: int = 1 << 30) -> None:
        left = list(free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(total, 0, left.pop(0)))

    return leave


def test_a_large_file_leaves_room_for_small_ones(
    storage: Storage, leave: Callable[..., None]
) -> None:
    storage.write("checkpoints/0.pt", b"old")
    leave(ROOM + len(LARGE) - 1)
    refused = r"0\.pt must be writable: no space left on device; free space there$"
    with pytest.raises(StorageError, match=refused):
        storage.write("checkpoints/0.pt", LARGE)
    storage.write("trials/0.parquet", bytes(SMALL))
    assert storage.read("checkpoints/0.pt") == b"old"
    leave(ROOM + len(LARGE), ROOM)
    storage.write("checkpoints/0.pt", LARGE)
    assert storage.read("checkpoints/0.pt") == LARGE


def test_of_two_large_files_at_once_one_gives_way(
    storage: Storage, leave: Callable[..., None]
) -> None:
    leave(ROOM + len(LARGE), ROOM - 1)
    with pytest.raises(StorageError, match="no space left on device"):
        storage.write("checkpoints/0.pt", LARGE)
    assert storage.folder is not None
    assert list((storage.folder / "checkpoints").iterdir()) == []


def test_a_file_system_that_tells_nothing_is_believed_to_have_room(
    storage: Storage, leave: Callable[..., None]
) -> None:
    leave(0, 0, total=0)
    storage.write("0.pt", LARGE)
    assert storage.exists("0.pt")


def test_a_second_name_is_a_copy_where_there_are_no_links(
    storage: Storage, leave: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    storage.write("0.pt", LARGE)
    monkeypatch.setattr(os, "link", refuse)
    leave(0)
    with pytest.raises(StorageError, match=r"0\.best\.pt must be writable: no space left"):
        storage.copy("0.pt", "0.best.pt")
    leave(1 << 30, 1 << 30)
    storage.copy("0.pt", "0.best.pt")
    assert storage.read("0.best.pt") == LARGE
    assert storage.folder is not None
    assert sorted(path.name for path in storage.folder.iterdir()) == ["0.best.pt", "0.pt"]


def test_what_vanished_is_named_and_not_made_anew(storage: Storage) -> None:
    assert storage.folder is not None
    storage.folder.rmdir()
    for write in (
        lambda: storage.write("trials/0.parquet", b""),
        lambda: storage.make_folder("checkpoints"),
    ):
        with pytest.raises(StorageError, match=r"run must stay where it is, but it is gone"):
            write()
        assert not storage.folder.exists()


def test_whether_a_place_can_be_written_is_known_before(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert storage.folder is not None
    storage.check_writable()
    assert list(storage.folder.iterdir()) == []

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    refused = (
        "run must be writable: read-only file system; change its permissions, or choose another"
    )
    with pytest.raises(StorageError, match=refused):
        storage.check_writable()
    open_storage(storage.folder / "not/made/yet").check_writable()
