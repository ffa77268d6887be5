"""Commands end well whatever the terminal lacks and whoever stops reading."""

import json
import os
import subprocess
import sys

import pytest

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory

SPACE = "main_task: a\nobjectives: [{maximize: a/robust/miou}]\n"
ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "strict ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "narrow": {"COLUMNS": "20"},
    "no width": {"COLUMNS": "0"},
    "dumb": {"TERM": "dumb", "NO_COLOR": "1"},
}
COMMANDS = (
    ("--help",),
    ("search", "--help"),
    ("runs", "list"),
    ("runs", "list", "--json"),
    ("runs", "show", "RUN"),
    ("runs", "show", "RUN", "--json"),
    ("report", "--run", "RUN"),
    ("table", "predictors", "RUN"),
    ("spaces", "list"),
    ("spaces", "show", "quickstart"),
    ("schema",),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with letters of many scripts."""
    run = RunDirectory.create_at(tmp_path_factory.mktemp("runs") / "caf\u00e9-\u753b\u50cf", SPACE)
    for number in range(40):
        rows = tuple(
            EpochRow(epoch, {"a/robust/miou": 0.1 * epoch, "a/clean/miou": 0.2}, 1.0, 1)
            for epoch in (1, 2)
        )
        trial = TrialResult(
            number,
            "\u0433\u043b\u0443\u0431\u0438\u043d\u0430+\u03b5",
            "searched",
            {"adversary": {"attack": "pgd", "epsilon": 0.1, "norm": "linf"}},
            {"adversary.epsilon": 0.1, "loss_weights.\u6df1\u3055": -0.5},
            "a",
            ("\u6df1\u3055",),
            7,
            "complete",
            epochs=rows,
            planned_epochs=2,
            started="2026-11-21T04:00:00+00:00",
        )
        run.write_trial(trial)
    return run


def called(run, command, *, output=subprocess.PIPE, **environment):
    words = [str(run.path) if word == "RUN" else word for word in command]
    runs = ["--runs", str(run.path.parent)] if command[:2] == ("runs", "list") else []
    return subprocess.Popen(
        [sys.executable, "-m", "taskgroup", *words, *runs],
        stdout=output,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("terminal", ENCODINGS)
def test_every_terminal_gets_what_it_can_show(command, terminal, run):
    process = called(run, command, **ENCODINGS[terminal])
    output, problems = process.communicate()
    assert process.returncode == 0, problems
    assert problems == b""
    assert output


def test_signs_that_numbers_hang_on_are_written_in_plain_letters():
    code = "from taskgroup.cli import app\n@app.command()\ndef tell():\n"
    code += " print('\\u03b5 = \\u22120.5 \\u6df1')\napp(['tell'])"
    for encoding, text in (("ascii", b"eps = -0.5 ?\n"), ("cp1252:strict", b"eps = -0.5 ?\n")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, text, b"")


@pytest.mark.parametrize(
    "command",
    [("runs", "show", "RUN"), ("runs", "show", "RUN", "--json"), ("schema",), ("search", "--help")],
    ids=" ".join,
)
def test_a_reader_that_goes_ends_a_command_in_peace(command, run):
    reading, writing = os.pipe()
    process = called(run, command, output=writing)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    assert (process.communicate()[1], process.returncode) == (b"", 0)


WORK = """
import sys, typer
from taskgroup.cli import app

@app.command()
def work():
    from rich.console import Console
    for number in range(3000):
        typer.echo("x" * 100, err=True)
        Console(stderr=True).print("y" * 100)
    open(sys.argv[1], "w").write("done")

app(["work"])
"""


def test_a_reader_that_goes_stops_no_work(tmp_path):
    reading, writing = os.pipe()
    command = [sys.executable, "-c", WORK, str(tmp_path / "kept")]
    process = subprocess.Popen(command, stdout=writing, stderr=writing)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    assert process.wait() == 0
    assert (tmp_path / "kept").read_text() == "done"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device")
def test_a_full_disk_behind_stdout_is_one_line(run):
    with open("/dev/full", "w") as full:
        process = called(run, ("runs", "show", "RUN"), output=full)
        problems = process.communicate()[1].decode()
    assert process.returncode == 2
    assert problems == (
        "taskgroup: stdout must take what is printed, but: no space left on device; free space, or "
        "print it elsewhere\n"
    )


def test_json_is_the_same_on_every_terminal(run):
    answers = [
        json.loads(called(run, ("runs", "show", "RUN", "--json"), **terminal).communicate()[0])
        for terminal in ({}, ENCODINGS["strict ascii"])
    ]
    assert answers[0] == answers[1]
