from pathlib import Path

import pytest

from taskgroup.data.files.locate import Layout, data_folder, find_layout
from taskgroup.errors import DataError

LAYOUT = Layout("shapes", ("list.txt", "pictures/*.png"))


def place(folder: Path, *, whole: bool = True) -> Path:
    (folder / "pictures").mkdir(parents=True)
    (folder / "pictures" / "a.png").touch()
    if whole:
        (folder / "list.txt").touch()
    return folder


def message(caught: pytest.ExceptionInfo[DataError]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("below", ["", "one", "one/two"])
def test_a_layout_is_found_two_levels_down(tmp_path: Path, below: str) -> None:
    folder = place(tmp_path / below)
    assert find_layout(LAYOUT, tmp_path) == folder


def test_no_deeper_and_not_in_hidden_folders(tmp_path: Path) -> None:
    place(tmp_path / "one" / "two" / "three")
    place(tmp_path / ".download-x")
    with pytest.raises(DataError):
        find_layout(LAYOUT, tmp_path)


def test_the_nearest_wins_then_the_first_by_name(tmp_path: Path) -> None:
    place(tmp_path / "a" / "deep")
    second = place(tmp_path / "c")
    assert find_layout(LAYOUT, tmp_path) == second
    first = place(tmp_path / "b")
    assert find_layout(LAYOUT, tmp_path) == first


def test_an_incomplete_folder_is_passed_over(tmp_path: Path) -> None:
    place(tmp_path / "a", whole=False)
    whole = place(tmp_path / "b")
    assert find_layout(LAYOUT, tmp_path) == whole


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place(tmp_path / "one")
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path))
    assert find_layout(LAYOUT, None) == folder
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TASKGROUP_DATA", "one")
    assert data_folder() == folder
    monkeypatch.setenv("TASKGROUP_DATA", "")
    assert data_folder() is None


def test_a_folder_name_can_be_part_of_the_layout(tmp_path: Path) -> None:
    layout = Layout("shapes", LAYOUT.markers, folders=("Shapes/raw",), root_folders=(".", "raw"))
    folder = place(tmp_path / "Other" / "raw")
    with pytest.raises(DataError, match="in Shapes/raw"):
        find_layout(layout, tmp_path)
    assert find_layout(layout, tmp_path / "Other") == folder
    assert find_layout(layout, folder) == folder
    named = place(tmp_path / "pack" / "Shapes" / "raw")
    assert find_layout(layout, tmp_path) == named


def test_without_a_folder_the_line_says_which_key_to_set() -> None:
    with pytest.raises(DataError) as caught:
        find_layout(LAYOUT, None, advice=", or set download: true")
    assert message(caught) == (
        "data set 'shapes' needs its files (list.txt, pictures/*.png): "
        "set dataset.root or TASKGROUP_DATA to their folder, or set download: true"
    )


def test_a_missing_folder_is_named_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"dataset\.root must be the folder.*no folder .*absent"):
        find_layout(LAYOUT, tmp_path / "absent")
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path / "absent"))
    with pytest.raises(DataError, match=r"TASKGROUP_DATA must be the folder"):
        find_layout(LAYOUT, None)


def test_a_wrong_layout_is_one_line_of_what_was_expected_and_found(tmp_path: Path) -> None:
    for name in "abcdefg":
        (tmp_path / name).touch()
    with pytest.raises(DataError) as caught:
        find_layout(LAYOUT, tmp_path)
    assert message(caught) == (
        f"data set 'shapes' must have list.txt, pictures/*.png in {tmp_path} or at most 2 folders "
        "below it; found a, b, c, d, e, ...; correct dataset.root"
    )


def test_an_incomplete_layout_says_what_lacks(tmp_path: Path) -> None:
    folder = place(tmp_path / "one", whole=False)
    with pytest.raises(DataError) as caught:
        find_layout(LAYOUT, tmp_path)
    assert f"found {folder} without list.txt; complete it" in message(caught)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing; correct"):
        find_layout(LAYOUT, tmp_path)
