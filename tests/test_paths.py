import os
from pathlib import Path

import pytest

from taskgroup.errors import DataError
from taskgroup.paths import is_file, is_folder, is_text, shown_path


def test_what_stands_at_a_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert (is_folder(tmp_path), is_file(tmp_path)) == (True, False)
    assert (is_folder(tmp_path / "file"), is_file(tmp_path / "file")) == (False, True)
    for name in ("absent", "file/below", "dangling"):
        assert not is_folder(tmp_path / name)
        assert not is_file(tmp_path / name)


def test_what_cannot_be_told_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match=r"^/.*loop must be .* too many levels of symbolic links"):
        is_file(tmp_path / "loop")
    for path in (tmp_path / ("x" * 300), Path("x/" * 3000)):
        with pytest.raises(DataError, match=r"^.{1,300} must be .* file name too long; correct"):
            is_folder(path)


def test_names_that_are_no_text_are_shown_escaped() -> None:
    name = os.fsdecode(b"caf\xe9")
    assert not is_text(name)
    assert is_text("caf\u00e9 \u03b5 \U0001f9ca")
    assert shown_path(name) == r"caf\xe9"
