import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskgroup.data.files.listing import files_below, files_in, open_subfolders, subfolders
from taskgroup.errors import DataError

FOREIGN = os.fsdecode(b"caf\xe9")
"""A name in Latin-1."""


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_own_files_come_first_then_those_of_folders_by_name(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/c/3.PNG", "b.png", "a.png", "a/1.png", "a/1.txt", ".x/4.png"):
        touch(tmp_path / name)
    touch(tmp_path / ".hidden.png")
    found = files_below(tmp_path, (".png", ".jpg"))
    assert names(found, tmp_path) == ["a.png", "b.png", "a/1.png", "b/2.png", "b/c/3.PNG"]
    assert names(files_in(tmp_path, ".png"), tmp_path) == ["a.png", "b.png"]
    assert names(subfolders(tmp_path), tmp_path) == ["a", "b"]
    assert files_in(tmp_path / "absent", ".png") == files_below(tmp_path / "absent", ".png") == []


def test_folders_named_like_pictures_are_folders(tmp_path: Path) -> None:
    touch(tmp_path / "a.png" / "b.png")
    assert names(files_below(tmp_path, ".png"), tmp_path) == ["a.png/b.png"]


def test_links_to_folders_are_followed_and_loops_are_one_line(tmp_path: Path) -> None:
    touch(tmp_path / "set" / "a" / "1.png")
    touch(tmp_path / "elsewhere" / "2.png")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "elsewhere")
    found = files_below(tmp_path / "set", ".png")
    assert names(found, tmp_path / "set") == ["a/1.png", "b/2.png"]
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "set")
    with pytest.raises(DataError, match=r"b/up must not lead back to .*set, .*remove the link"):
        files_below(tmp_path / "set", ".png")


def test_links_that_lead_nowhere_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes").symlink_to("nowhere")
    assert files_below(tmp_path, ".png") == []
    (tmp_path / "1.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"1\.png must be a file, but is a link that leads nowhere"):
        files_below(tmp_path, ".png")
    (tmp_path / "1.png").unlink()
    (tmp_path / "1.png").symlink_to("1.png")
    with pytest.raises(DataError, match=r"1\.png must be .* too many levels of symbolic links"):
        files_in(tmp_path, ".png")


@pytest.mark.parametrize("name", [f"{FOREIGN}.png", f"{FOREIGN}/1.png"])
def test_names_that_are_not_utf8_are_one_line(tmp_path: Path, name: str) -> None:
    touch(tmp_path / f"{FOREIGN}.txt")
    assert files_below(tmp_path, ".png") == []
    touch(tmp_path / name)
    with pytest.raises(DataError, match=r"caf\\xe9.* must have a name in UTF-8") as caught:
        files_below(tmp_path, ".png")
    str(caught.value).encode()


def test_a_search_passes_over_what_is_not_open_to_it(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / FOREIGN).mkdir()
    (tmp_path / "good").mkdir()
    assert open_subfolders(tmp_path) == [tmp_path / "good"]
    assert open_subfolders(tmp_path / "absent") == []


def test_folders_too_deep_to_be_named_are_one_line(tmp_path: Path) -> None:
    script = "import os\nfor _ in range(25): os.mkdir('d' * 200); os.chdir('d' * 200)"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    with pytest.raises(DataError, match=r"must be .*file name too long"):
        files_below(tmp_path, ".png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_closed_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(DataError, match=r"closed must be a folder .* permission denied; change"):
        files_below(tmp_path, ".png")


def test_a_folder_that_cannot_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"closed must be a folder .* permission denied; change"):
        files_below(tmp_path, ".png")
