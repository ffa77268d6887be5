"""The lock of a local run directory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskgroup.errors import ConfigError, ResourceError
from taskgroup.results.storage.locking import LOCK_FILE, lock_directory

HOLD = (
    "import sys; from pathlib import Path\n"
    "from taskgroup.results.storage.locking import lock_directory\n"
    "with lock_directory(Path(sys.argv[1])):\n"
    "    print('held', flush=True); sys.stdin.read()\n"
)


def test_a_second_lock_is_refused_with_the_holder_however_often_it_is_asked(tmp_path: Path) -> None:
    with lock_directory(tmp_path):
        for _ in range(2):
            refused = pytest.raises(ConfigError, match=f"process {os.getpid()} is using it")
            with refused, lock_directory(tmp_path):
                pass
    with lock_directory(tmp_path):
        pass


def test_a_holder_that_left_no_number_is_another_process(tmp_path: Path) -> None:
    with lock_directory(tmp_path):
        for content in (b"", b"\xff\xfe\xff"):
            (tmp_path / LOCK_FILE).write_bytes(content)
            refused = pytest.raises(ConfigError, match="and another process is using it")
            with refused, lock_directory(tmp_path):
                pass


def test_the_lock_of_a_killed_process_vanishes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        refused = pytest.raises(ConfigError, match=f"process {holder.pid} is using it")
        with refused, lock_directory(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with lock_directory(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == str(os.getpid())


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), lock_directory(tmp_path):
        raise KeyError
    with lock_directory(tmp_path):
        pass


def test_a_place_without_write_access_is_named(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).mkdir()
    refused = pytest.raises(ResourceError, match=rf"{LOCK_FILE} must be writable: .* change its")
    with refused, lock_directory(tmp_path):
        pass
