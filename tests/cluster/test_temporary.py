"""The folder of a new cluster's sockets."""

import os

import pytest
import ray

from taskgroup.cluster.resources import ray_on_this_machine
from taskgroup.cluster.temporary import MOST_BYTES, ray_folder
from taskgroup.errors import ResourceError

LONG = "/tmp/" + "nowhere" * 7


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch):
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("folder", [LONG, "/dev/null", "/proc/nowhere", "/tmp/caf\udce9"])
def test_a_temporary_folder_that_will_not_do_is_passed_over(folder, monkeypatch):
    monkeypatch.setenv("TMPDIR", folder)
    assert ray_folder() == "/tmp"
    assert not os.path.exists(LONG)


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        (LONG, f"{LONG} has 54"),
        ("/dev/null", r"/dev/null cannot be written \(.+\)"),
        ("/proc/nowhere", r"/proc/nowhere cannot be written \(.+\)"),
    ],
)
def test_one_that_was_asked_for_must_do(folder, found, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", folder)
    message = (
        rf"^Ray needs a folder for its sockets that can be written and has at most {MOST_BYTES} "
        rf"bytes in its path, but {found}; set RAY_TMPDIR to such a folder$"
    )
    with pytest.raises(ResourceError, match=message):
        ray_folder()


def test_a_short_folder_is_taken(monkeypatch):
    assert ray_folder() == "/tmp"
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    assert ray_folder() == "/var/tmp"
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    assert ray_folder() == "/tmp"


@pytest.mark.ray
def test_a_cluster_starts_in_spite_of_a_long_temporary_folder(monkeypatch, tmp_path):
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    with ray_on_this_machine(cpus=1):
        assert ray.is_initialized()
        assert os.environ["RAY_TMPDIR"] == "/tmp"
    assert "RAY_TMPDIR" not in os.environ
    assert list(long.iterdir()) == []
