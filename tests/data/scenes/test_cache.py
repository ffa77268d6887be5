"""The cache on disk: whole or absent, one renderer for many callers, errors in one line."""

import os
import resource
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from taskgroup.data.scenes import cache
from taskgroup.data.scenes.cache import cache_folder, digest, open_stored
from taskgroup.data.scenes.render import STORED, render
from taskgroup.data.scenes.writing import SceneRequest, entry_bytes, render_chunks, write_entry
from taskgroup.errors import ResourceError

Forked = Callable[[Callable[[], None]], Callable[[], int]]
REQUEST = SceneRequest(seed=3, split="train", size=32, count=5)


def rows(entry: Path, name: str) -> np.ndarray:
    return np.load(entry / f"{name}.npy", mmap_mode="r")


def contents(parent: Path) -> list[str]:
    """Names in a cache folder, without the locks."""
    return sorted(path.name for path in parent.iterdir() if path.suffix != ".lock")


def test_holds_exactly_what_is_rendered(tmp_path: Path) -> None:
    entry = open_stored(REQUEST, tmp_path)
    assert sum(rows(entry, name).nbytes for name in STORED) == entry_bytes(REQUEST)
    for index in range(REQUEST.count):
        sample = render(3, "train", index, size=32)
        for name in STORED:
            np.testing.assert_array_equal(rows(entry, name)[index], sample[name])
    assert contents(tmp_path / "scenes") == [entry.name]


def test_a_second_call_renders_nothing(tmp_path: Path) -> None:
    entry = open_stored(REQUEST, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in entry.iterdir()}
    assert open_stored(REQUEST, tmp_path) == entry
    assert before == {path.name: path.stat().st_mtime_ns for path in entry.iterdir()}


def test_a_larger_entry_serves_a_smaller_request_and_starts_alike(tmp_path: Path) -> None:
    small = open_stored(SceneRequest(3, "train", 32, 3), tmp_path)
    large = open_stored(REQUEST, tmp_path)
    assert small != large
    for name in STORED:
        np.testing.assert_array_equal(rows(small, name), rows(large, name)[:3])
    shutil.rmtree(small)
    assert open_stored(SceneRequest(3, "train", 32, 2), tmp_path) == large


@pytest.mark.parametrize(
    "other",
    [
        SceneRequest(4, "train", 32, 5),
        SceneRequest(3, "test", 32, 5),
        SceneRequest(3, "train", 40, 5),
    ],
)
def test_the_key_tells_streams_apart(other: SceneRequest) -> None:
    assert digest(other) != digest(REQUEST)


def test_the_key_follows_the_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(REQUEST)
    monkeypatch.setattr(cache, "renderer_version", lambda: "another")
    assert digest(REQUEST) != before


@pytest.mark.parametrize("damage", ["missing", "truncated", "emptied", "foreign"])
def test_a_damaged_entry_is_rendered_anew(tmp_path: Path, damage: str) -> None:
    entry = open_stored(REQUEST, tmp_path)
    good = rows(entry, "depth").copy()
    file = entry / "depth.npy"
    content = file.read_bytes()
    file.unlink()
    if damage == "truncated":
        file.write_bytes(content[:-100])
    elif damage == "emptied":
        file.touch()
    elif damage == "foreign":
        np.save(file, np.zeros(3))
    again = open_stored(REQUEST, tmp_path)
    np.testing.assert_array_equal(rows(again, "depth"), good)
    assert contents(tmp_path / "scenes") == [again.name]


def test_a_draft_left_by_a_killed_process_is_no_entry_and_goes(tmp_path: Path) -> None:
    parent = tmp_path / "scenes"
    draft = parent / f".{digest(REQUEST)}-abandoned"
    draft.mkdir(parents=True)
    (draft / "depth.npy").write_bytes(b"half")
    (parent / f"{digest(REQUEST)}-backup").mkdir()  # a user's own folder is not ours to touch
    entry = open_stored(REQUEST, tmp_path)
    assert contents(parent) == sorted([entry.name, f"{digest(REQUEST)}-backup"])


def ask_when_told(start: Path, parent: Path, answer: Path) -> None:
    """What each of several processes does: wait, ask, and say whether it rendered."""
    rendered = []

    def counting(folder: Path, request: SceneRequest, *, helpers: int) -> None:
        rendered.append(folder)
        write_entry(folder, request, helpers=helpers)

    cache.write_entry = counting
    while not start.exists():
        pass
    entry = open_stored(SceneRequest(8, "test", 64, 40), parent)
    answer.write_text(f"{len(rendered)} {entry}")


def test_several_processes_at_once_render_one_entry(tmp_path: Path, forked: Forked) -> None:
    start, parent = tmp_path / "start", tmp_path / "cache"
    answers = [tmp_path / f"answer{number}" for number in range(4)]
    children = [forked(partial(ask_when_told, start, parent, answer)) for answer in answers]
    start.touch()
    assert [child() for child in children] == [0] * 4
    said = [answer.read_text().split() for answer in answers]
    assert sum(int(rendered) for rendered, _ in said) == 1
    assert len({entry for _, entry in said}) == 1
    assert contents(parent / "scenes") == [Path(said[0][1]).name]


def test_helpers_render_the_same_bits(tmp_path: Path) -> None:
    request = SceneRequest(1, "train", 128, 70)  # three pieces of work
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder, helpers in ((alone, 0), (together, 1)):
        folder.mkdir()
        write_entry(folder, request, helpers=helpers)
    assert contents(alone) == contents(together)
    for name in STORED:
        assert (alone / f"{name}.npy").read_bytes() == (together / f"{name}.npy").read_bytes()


def test_work_that_others_claimed_is_left_to_them(tmp_path: Path) -> None:
    write_entry(tmp_path, REQUEST, helpers=0)
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "0").touch()
    before = (tmp_path / "image.npy").stat().st_mtime_ns
    render_chunks(tmp_path)
    assert (tmp_path / "image.npy").stat().st_mtime_ns == before


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=r"must be writable .* TASKGROUP_CACHE$") as caught:
        open_stored(REQUEST, tmp_path / "file" / "below")
    assert "\n" not in str(caught.value)


def test_too_little_room_is_said_before_rendering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ResourceError, match="have room for 1 MB of scenes, but: 0 MB are free"):
        open_stored(SceneRequest(3, "train", 32, 40), tmp_path)
    assert contents(tmp_path / "scenes") == []


def fill_up(parent: Path, answer: Path) -> None:
    """Ask for scenes where no file may grow beyond 100 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with pytest.raises(ResourceError) as caught:
        open_stored(SceneRequest(0, "train", 64, 20), parent)
    answer.write_text(str(caught.value))


def test_a_disk_that_fills_while_rendering_leaves_nothing_behind(
    tmp_path: Path, forked: Forked
) -> None:
    assert forked(partial(fill_up, tmp_path, tmp_path / "answer"))() == 0
    message = (tmp_path / "answer").read_text()
    assert "must be writable and have room for 2 MB of scenes, but: File too large" in message
    assert "\n" not in message
    assert contents(tmp_path / "scenes") == []


def kill_itself_while_rendering(parent: Path) -> None:
    def dying(folder: Path, request: SceneRequest, *, helpers: int) -> None:
        (folder / "depth.npy").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    cache.write_entry = dying
    open_stored(REQUEST, parent)


def test_a_process_killed_while_rendering_blocks_nobody(tmp_path: Path, forked: Forked) -> None:
    assert forked(partial(kill_itself_while_rendering, tmp_path))() == -signal.SIGKILL
    assert len(contents(tmp_path / "scenes")) == 1
    entry = open_stored(REQUEST, tmp_path)
    assert contents(tmp_path / "scenes") == [entry.name]


def test_where_the_cache_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older version's folder is found again."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TASKGROUP_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "taskgroup"
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder() == Path("/b/taskgroup")
    monkeypatch.setenv("TASKGROUP_CACHE", "~/c")
    assert cache_folder() == tmp_path / "c"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKGROUP_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(ResourceError, match="name a folder in TASKGROUP_CACHE"):
        cache_folder()


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGROUP_CACHE", str(tmp_path / "mine"))
    assert open_stored(REQUEST).parent == tmp_path / "mine" / "scenes"
    assert os.environ["TASKGROUP_CACHE"]
