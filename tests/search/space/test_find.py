"""Finding spaces by path and by name."""

from pathlib import Path

import pytest

from taskgroup.search.space.find import find_space


def test_path_comes_before_the_working_folder_before_the_shipped_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = find_space("smoke")
    monkeypatch.chdir(tmp_path)
    shipped = find_space("smoke")
    assert shipped.is_absolute()
    assert shipped.read_text() == (Path(__file__).parents[3] / checkout).read_text()
    (tmp_path / "search_spaces").mkdir()
    own = tmp_path / "search_spaces" / "smoke.yaml"
    own.write_text("name: mine\n")
    assert find_space("smoke").resolve() == own
    given = tmp_path / "smoke"
    given.write_text("name: given\n")
    assert find_space("smoke").resolve() == given
