"""Progress of an evaluation where there is no terminal: a line per tenth, with the time left."""

from io import StringIO

from rich.console import Console

from taskgroup.evaluation.progress_bar import progress_bar


def test_lines_tell_each_tenth_once():
    out = StringIO()
    with progress_bar(Console(file=out, force_terminal=False)) as progress:
        for done in range(1, 101):
            progress(done, 100, f"piece {done} [x]")
    lines = out.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0] == "evaluated 10 %, about 0 s left: piece 10 [x]"
    assert lines[-1] == "evaluated 100 %: piece 100 [x]"


def test_a_terminal_gets_a_bar():
    out = StringIO()
    with progress_bar(Console(file=out, force_terminal=True, width=80)) as progress:
        progress(1, 2, "main only: sea")
    assert "main only: sea" in out.getvalue()
