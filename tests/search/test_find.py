"""Finding spaces by path and by name."""

from pathlib import Path

import pytest

from taskgroup.search.find import find_space, list_spaces, spaces_table


def test_path_comes_before_the_working_folder_before_the_shipped_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = find_space("smoke").resolve()
    monkeypatch.chdir(tmp_path)
    assert find_space("smoke") == shipped
    (tmp_path / "search_spaces").mkdir()
    own = tmp_path / "search_spaces" / "smoke.yaml"
    own.write_text("name: mine\n")
    assert find_space("smoke").resolve() == own
    given = tmp_path / "smoke"
    given.write_text("name: given\n")
    assert find_space("smoke").resolve() == given


def test_table_lists_every_space_and_says_which_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "torn.yaml").write_text("name: [")
    rows = {row["name"]: row for row in spaces_table().to_json()}
    assert set(rows) == set(list_spaces())
    assert rows["torn"]["description"].startswith("broken: ")
    assert rows["smoke"]["main task"] == "segmentation"
    assert spaces_table().to_rich().row_count == len(rows)
