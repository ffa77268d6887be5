"""The command line's face: option names, one-line errors, exit codes, and speed of help."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from taskgroup import __version__
from taskgroup.cli import app
from taskgroup.results.records import TrialResult
from taskgroup.results.records.codec import to_table
from taskgroup.results.run_directory import RunDirectory

OPTIONS = {
    ("search",): [
        "--space",
        "--fix",
        "--run",
        "--runs",
        "--resume",
        "--address",
        "--dashboard",
        "--json",
    ],
    ("evaluate",): [
        "--suite",
        "--epsilon",
        "--norm",
        "--attacked-task",
        "--model",
        "--dataset",
        "--task",
        "--task-options",
        "--run",
        "--runs",
        "--images",
        "--seed",
        "--workers",
        "--address",
        "--json",
    ],
    ("dimension",): [
        "--part",
        "--task",
        "--grid",
        "--outputs",
        "--attack",
        "--steps",
        "--restarts",
        "--epsilon",
        "--norm",
        "--images",
        "--repeats",
        "--seed",
        "--seed-compatible",
        "--run",
        "--runs",
        "--output",
        "--json",
    ],
    ("confirm",): [
        "--top",
        "--seeds",
        "--epochs",
        "--suite",
        "--images",
        "--runs",
        "--address",
        "--json",
    ],
    ("report",): ["--run", "--runs"],
    ("train",): ["--space", "--fix", "--run", "--runs"],
    ("data", "show"): ["--out", "--task", "--split", "--count", "--size", "--root"],
    ("data", "prepare"): ["--size", "--workers"],
    ("spaces", "list"): ["--json"],
    ("spaces", "show"): [],
    ("spaces", "check"): ["--fix"],
    ("runs", "list"): ["--runs", "--json"],
    ("runs", "show"): ["--runs", "--json"],
    ("schema",): [],
    ("table", "relative"): ["--split", "--out", "--runs", "--json"],
    ("table", "attacks"): ["--split", "--out", "--runs", "--json"],
    ("table", "vulnerability"): ["--split", "--out", "--runs", "--json"],
    ("table", "predictors"): ["--split", "--out", "--runs", "--json"],
}


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def command_of(path):
    import typer

    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    return command


def declared_options(path):
    return [p.opts[0] for p in command_of(path).params if p.opts[0].startswith("--")]


@pytest.mark.parametrize("path", OPTIONS, ids="-".join)
def test_option_names_are_the_published_ones(path):
    assert [o for o in declared_options(path) if o != "--help"] == OPTIONS[path]


def test_version():
    assert run("--version").output == f"taskgroup {__version__}\n"


def test_every_command_explains_itself():
    for path in OPTIONS:
        result = run(*path, "--help")
        assert result.exit_code == 0
        assert "Usage" in result.output


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from taskgroup.cli import app;"
        "CliRunner().invoke(app, ['--help']);"
        "print([m for m in ('torch', 'ray', 'optuna', 'plotly', 'pyarrow', 'pydantic')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_worker_starts_without_what_takes_longer_to_import_than_torch():
    code = (
        "import sys; import taskgroup.training.fit, taskgroup.evaluation.shards.ray_tasks;"
        "print([m for m in ('torchvision', 'torch._dynamo', 'torchmetrics', 'timm', 'optuna',"
        " 'scipy.stats', 'scipy.signal') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--space", "quickstrat"], "quickstart"),
        (["search", "--space", "smoke", "--fix", "adversary.epsilon=8"], "8/255"),
        (["search", "--space", "smoke", "--fix", "search.trials=0"], "search.trials"),
        (["search", "--space", "smoke", "--fix", "main_task=segmentatoin"], "segmentation"),
        (["search", "--space", "smoke", "--fix", "model.backbone=resnet19"], "resnet18"),
        (["search", "--space", "smoke", "--fix", "dataset.name=scene"], "scenes"),
        (["search", "--space", "smoke", "--fix", "trainning.epochs=3"], "training"),
        (["evaluate", "best", "--run", "nowhere"], "nowhere"),
        (["evaluate", "--norm", "l7"], "norm must be 'linf', 'l2' or 'l1', got 'l7'"),
        (["dimension", "--norm", "l7"], "norm must be 'linf', 'l2' or 'l1', got 'l7'"),
        (["evaluate", "best", "--runs", "nowhere"], "nowhere"),
        (["dimension", "nowhere"], "nowhere"),
        (["dimension", "--run", "nowhere"], "nowhere"),
        (["dimension", "--attack", "pdg"], "pgd"),
        (["report", "--run", "nowhere"], "nowhere"),
        (["runs", "show", "nowhere"], "nowhere"),
        (["data", "show", "scense"], "scenes"),
        (["spaces", "check", "missing.yaml"], "missing.yaml"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("evaluate --images 0", "--images must be at least 1, got '0'; see: root evaluate --help"),
        ("evaluate --images few", "--images must be an integer, got 'few'; see: root evaluate"),
        (
            "evaluate --suite mega",
            "--suite must be one of 'quick', 'standard', 'full', 'mtrobust', 'mtrobust_seed', "
            "got 'mega'; see: root evaluate --help",
        ),
        ("confirm --suite full", "--suite must be one of 'quick', 'standard', 'none', got 'full'"),
        ("confirm --seeds 1", "--seeds must be at least 2, got '1'; see: root confirm --help"),
        ("dimension --outputs many", "--outputs must be an integer, got 'many'; see: root"),
        ("data prepare nothing", "name must be one of 'cityscapes', 'taskonomy', 'camvid', got"),
        ("train", "missing option '--space'; see: root train --help"),
        ("search --foo", "no such option: --foo"),
        ("--foo", "no such option: --foo; see: root --help"),
        ("evaluate --images", "option '--images' requires an argument"),
        ("serch", "no such command 'serch'. Did you mean 'search'? see: root --help"),
        ("table relativ", "no such command 'relativ'. Did you mean 'relative'? see: root table"),
        ("runs show a b", "got unexpected extra argument"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_2(arguments, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments.split())
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(f"taskgroup: {line}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize("group", [(), ("table",)])
def test_a_group_without_a_command_prints_its_help(group):
    assert "Commands" in run(*group).output


def test_help_is_broken_into_lines_by_the_terminal_alone():
    help_of = {path: command_of(path).help for path in OPTIONS}
    assert "compared seed by seed with those of the main task alone" in help_of[("confirm",)]
    assert "unless --fix pins them." in help_of[("train",)]
    for path, text in help_of.items():
        assert "\n" not in text.replace("\n\n", ""), path


def test_no_command_speaks_of_another_ones_work():
    (address,) = [p.help for p in command_of(("confirm",)).params if p.opts[0] == "--address"]
    assert "search" not in address


@pytest.mark.parametrize("command", ["report --run", "runs show"])
def test_a_record_that_lacks_what_it_needs_is_left_out_in_one_line(command, tmp_path, left_out):
    run_directory = RunDirectory.create(tmp_path, "old", run("spaces", "show", "smoke").output)
    lacking = TrialResult(0, "x", "baseline", {}, {}, "segmentation", (), 1, "complete")
    run_directory.write_trial(lacking)
    (path,) = (run_directory.path / "trials").iterdir()
    pq.write_table(to_table(TrialResult, [lacking]).drop_columns(["label"]), path)
    result = run(*command.split(), str(run_directory.path))
    assert result.exit_code == 0
    (problem,) = left_out()
    expected = f"{path}: column label must be in the file, but is missing; move the file away"
    assert problem.startswith(expected)


@pytest.mark.parametrize("command", ["report --run", "runs show"])
def test_a_word_that_no_release_has_written_yet_is_one_line(command, tmp_path, left_out):
    run_directory = RunDirectory.create(tmp_path, "new", run("spaces", "show", "smoke").output)
    run_directory.write_trial(
        TrialResult(0, "x", "baseline", {}, {}, "segmentation", (), 1, "weird")
    )
    result = run(*command.split(), str(run_directory.path))
    assert result.exit_code == 0
    known = "complete, pruned, failed, interrupted"
    (problem,) = left_out()
    assert f"00000.parquet: column status must be one of: {known}; got 'weird'" in problem


def test_spaces_list_names_the_shipped_ones():
    output = run("spaces", "list", "--json").output
    for name in ("smoke", "quickstart", "cifar10_auxiliary", "camvid_auxiliary"):
        assert name in output


def test_spaces_show_prints_the_file():
    assert run("spaces", "show", "smoke").output.startswith(("name: smoke", "#"))


@pytest.mark.parametrize(
    ("failures", "interrupted", "over_budget", "status"),
    [
        (True, False, False, 1),
        (False, False, False, 0),
        (False, True, False, 130),
        (True, True, False, 130),
        (False, True, True, 0),
    ],
)
def test_a_search_exits_with_what_became_of_it(
    failures, interrupted, over_budget, status, monkeypatch
):
    found = SimpleNamespace(
        run=None,
        study=None,
        has_only_failures=failures,
        is_interrupted=interrupted,
        is_over_budget=over_budget,
    )
    monkeypatch.setattr("taskgroup.search.run.search", lambda *args, **kwargs: found)
    monkeypatch.setattr("taskgroup.search.answer.summary.summary", lambda found, report: "summary")
    monkeypatch.setattr("taskgroup.analysis.report.build.write_report", lambda *both: "report.html")
    answer = CliRunner().invoke(app, ["search", "--space", "smoke"])
    assert (answer.exit_code, answer.stdout) == (status, "summary\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_a_letter_costs_no_number(encoding):
    code = "from taskgroup.cli import app; from taskgroup.errors import DataError\n"
    code += "@app.command()\ndef fail():\n print('\\u03b5 0.1'); raise DataError('0.2')\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}app(['fail'])"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == b"eps 0.1\n"
    assert done.stderr == b"taskgroup: 0.2\n"


def test_a_folder_without_runs_says_how_to_begin_one(tmp_path):
    listed = run("runs", "list", "--runs", str(tmp_path))
    assert listed.exit_code == 0
    assert f"No runs in {tmp_path} yet; start one" in listed.stderr
    assert json.loads(run("runs", "list", "--runs", str(tmp_path), "--json").stdout) == []


FOREIGN = os.fsdecode(b"caf\xe9")
"""A name in Latin-1, as Python reads it."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "show", FOREIGN),
        ("search", "--space", FOREIGN),
        (FOREIGN,),
        ("report", FOREIGN),
    ],
)
def test_argument_that_is_not_utf8_is_one_line(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert r"taskgroup: arguments must be UTF-8, got " in result.stderr
    assert r"caf\xe9; rename" in result.stderr


LONG = "x" * 300
"""A name that no file system takes."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "--space", LONG),
        ("search", "--space", "quickstart", "--run", LONG),
        ("search", "--space", "quickstart", "--runs", LONG),
        ("search", "--resume", LONG),
        ("train", "--space", "quickstart", "--run", LONG),
        ("confirm", LONG),
        ("evaluate", LONG),
        ("evaluate", "best", "--run", LONG),
        ("evaluate", "best", "--runs", LONG),
        ("dimension", "best", "--run", LONG),
        ("report", "--run", LONG),
        ("runs", "show", LONG),
        ("runs", "list", "--runs", LONG),
        ("spaces", "check", LONG),
        ("spaces", "show", LONG),
        ("table", "relative", LONG),
        ("data", "show", "image_folder", "--root", LONG),
        ("data", "show", "camvid", "--root", LONG),
        ("data", "prepare", "camvid", LONG, "copy", "--size", "32"),
    ],
    ids=" ".join,
)
def test_path_that_is_too_long_is_one_line(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2, result.exception
    *before, last = result.stderr.splitlines()
    assert last.startswith("taskgroup: ")
    assert all("prepare" in line for line in before)
    assert list(tmp_path.iterdir()) == []
