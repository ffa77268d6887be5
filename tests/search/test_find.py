"""Finding spaces by path and by name."""

from pathlib import Path

import pytest

from taskgroup.search.find import find_space


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
