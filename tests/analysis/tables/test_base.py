"""Tables read alike on the terminal, as JSON and in the report."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from taskgroup.analysis.tables.base import Row, Table, runs_table, study_table
from taskgroup.analysis.tables.evaluations import evaluation_table, robustness_table, transfer_table
from taskgroup.analysis.tables.terminal import drawn
from taskgroup.results.records import TrialResult
from taskgroup.study.study import Study
from taskgroup.wording import format_epsilon, format_gain, format_score, format_value


def printed(table: Table, width: int = 220) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(drawn(table, width))
    return captured.get()


def test_trials_are_ranked_and_the_rest_follows(study: Study) -> None:
    table = study_table(study)
    scores = [row.data["robust"] for row in table.rows if row.data["status"] == "complete"]
    assert scores == sorted(scores, reverse=True)
    assert [row.data["trial"] for row in table.rows[-3:]] == [8, 13, 15]
    assert table.rows[0].group == "best"
    assert table.notes == ("18 trials: 15 complete, 2 pruned, 1 failed",)
    assert table.rows[-1].cells[2:6] == (
        "failed: the loss became NaN in epoch 1", "0/8", "-", "-",
    )  # fmt: skip
    assert json.loads(json.dumps(table.to_json())) == table.to_json()


def test_runs_are_listed_newest_first_and_broken_ones_say_so(
    make_run: Callable[..., Any], make_trials: Callable[[], list[TrialResult]]
) -> None:
    run = make_run(make_trials())
    broken = make_run([], space="main_task: a\n")
    table = runs_table(run.path.parent)
    assert [row.data["run"] for row in table.rows] == [str(broken.path), str(run.path)]
    assert "objectives is required; add it" in table.rows[0].data["error"]
    assert table.rows[1].data["complete"] == 15
    assert table.rows[1].data["best"] == "segmentation+normals"
    assert "segmentation +normals" in printed(table)
    assert runs_table(run.path / "missing").rows == ()


def test_a_table_that_does_not_fit_is_drawn_row_by_row() -> None:
    table = Table(
        ("main task", "attack", "alone", "+depth"),
        frozenset({2, 3}),
        (
            Row(("segmentation", "no attack", "48.0 % (46.5-49.4)", "47.4 %"), {}),
            Row(("", "APGD 50, 4/255", "23.5 %", "-"), {}, group="best"),
        ),
        ("of 48 images",),
    )
    assert printed(table, width=60).splitlines()[3].split() == [
        "segmentation", "no", "attack", "48.0", "%", "47.4", "%",
    ]  # fmt: skip
    assert [line.rstrip() for line in printed(table, width=36).splitlines()] == [
        "",
        "main task · attack",
        "",
        "segmentation · no attack",
        "  alone   48.0 % (46.5-49.4)",
        "  +depth  47.4 %",
        "",
        "segmentation · APGD 50, 4/255",
        "  alone   23.5 %",
        "  +depth  -",
        "",
        "of 48 images",
    ]


def test_a_warning_is_red_in_either_form() -> None:
    row = Row(("a model", "gradient masking suspected: steps", "8"), {}, alarms=frozenset({1}))
    table = Table(("model", "verdict", "score"), frozenset({2}), (row,))
    for width in (60, 20):
        console = Console(width=width, force_terminal=True, color_system="standard")
        with console.capture() as captured:
            console.print(drawn(table, width))
        assert "\x1b[1;31mgradient" in captured.get()


def test_words_are_broken_only_where_there_is_no_room_for_them() -> None:
    row = Row(("classification", "a description of more than one line", "8"), {})
    table = Table(("main task", "description", "trials"), frozenset({2}), (row,))
    assert "classification " in printed(table, width=35)
    assert "classificatio " in printed(table, width=34)


def test_short_words_are_not_broken_for_a_path() -> None:
    cells = ("/a/path/longer/than/all/the/other/columns/together/1", "segmentation", "8")
    table = Table(("run", "main task", "trials"), frozenset({2}), (Row(cells, {}),))
    for width in (36, 60):
        text = printed(table, width=width)
        assert "segmentation" in text
        assert "/a/path/longer" in text


def test_narrow_terminals_cut_nothing_off(study: Study) -> None:
    for table in (
        study_table(study),
        evaluation_table(study.evaluations, study.trials),
        robustness_table(study.evaluations, study.trials),
        transfer_table(study.transfers),
    ):
        text = printed(table, width=80)
        assert "\N{HORIZONTAL ELLIPSIS}" not in text
        assert max(len(line) for line in text.splitlines()) <= 80


def test_terminal_tables_show_names_as_written(study: Study) -> None:
    named = replace(study.trials[0], label="[bold]x[/bold]")
    assert "[bold]x[/bold]" in printed(study_table(replace(study, trials=(named,))))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (format_score("miou", 0.31249), "31.2 %"),
        (format_score("rmse", 1.23456), "1.23"),
        (format_score("miou", float("nan")), "-"),
        (format_gain("miou", -0.05), "\N{MINUS SIGN}5.0 points"),
        (format_gain("mae", 0.5), "+0.5"),
        (format_epsilon(8 / 255), "8/255"),
        (format_epsilon(0.5 / 255), "0.5/255"),
        (format_epsilon(1.0), "1"),
        (format_value("adversary.attack", None), "-"),
        (format_value("training.flag", True), "yes"),
        (format_value("tasks", ["a", "b"]), "a, b"),
    ],
)
def test_numbers_read_as_the_field_writes_them(found: str, expected: str) -> None:
    assert found == expected
