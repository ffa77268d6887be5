"""Tables of an evaluation."""

import json
from dataclasses import replace

import pytest

from taskgroup.analysis.tables.evaluations import evaluation_table, robustness_table, transfer_table
from taskgroup.study.study import Study


def test_evaluation_puts_conditions_in_rows_and_models_in_columns(study: Study) -> None:
    table = evaluation_table(study.evaluations, study.trials)
    assert table.columns[3:] == (
        "best: segmentation+normals",
        "main only, natural",
        "main only, adversarial",
        "all candidates, equal weights",
    )
    names = [row.cells[0] for row in table.rows]
    assert names[:7] == [
        "no attack", "random noise", "FGSM", "Square, first 64 images", "APGD",
        "APGD on several tasks", "worst case of all",
    ]  # fmt: skip
    assert names[7:] == ["sweep of radii: APGD"] * 5
    assert table.rows[4].cells[1:3] == ("50 \N{MULTIPLICATION SIGN} 2", "4/255")
    first = study.evaluations[0]
    assert table.rows[0].data["scores"][0]["score"] == first.score
    assert "segmentation mIoU, higher is better, on 256 test images" in table.notes[0]


def test_json_knows_no_nan(study: Study) -> None:
    rows = [replace(row, score=float("nan")) for row in study.evaluations]
    table = evaluation_table(rows)
    assert table.to_json()[0]["scores"][0]["score"] is None
    assert "NaN" not in json.dumps(table.to_json())


def test_a_failed_sanity_check_marks_the_row(study: Study) -> None:
    verdict = "gradient masking suspected: noise beats the attack"
    rows = [replace(row, verdict=verdict) for row in study.evaluations if row.role == "winner"]
    table = evaluation_table(rows)
    assert all(row.cells[3].endswith(" !") for row in table.rows)
    assert all(row.alarms == {3} for row in table.rows)
    assert table.notes[1:] == (f"! segmentation+normals: {verdict}",)


def test_tables_say_where_they_mix_versions_of_the_attacks(study: Study) -> None:
    """Clean rows have no version and mix with everything."""
    older = [row for row in study.evaluations if row.role == "winner"]
    newer = [
        replace(row, attack_version=3 if row.epsilon else 0)
        for row in study.evaluations
        if row.role == "baseline"
    ]
    for table in (evaluation_table, robustness_table):
        (note,) = [n for n in table([*older, *newer]).notes if "versions" in n]
        assert note.startswith("scores come from versions 0 (before versions) and 3 of the attacks")
        for alike in (older, newer):
            assert not any("versions" in n for n in table(alike).notes)


def test_no_evaluation_is_an_empty_table() -> None:
    assert evaluation_table([]).rows == ()
    assert robustness_table([]).rows == ()
    assert transfer_table([]).rows == ()


def test_clean_stands_beside_robust(study: Study) -> None:
    table = robustness_table(study.evaluations, study.trials)
    assert table.columns == (
        "model", "ε", "clean mIoU", "robust mIoU", "relative vulnerability", "verdict",
    )  # fmt: skip
    assert len(table.rows) == 4
    for line in table.rows:
        own = [row for row in study.evaluations if row.trial == line.data["trial"]]
        scores = {row.condition: row.score for row in own}
        assert line.data["clean"] == {"miou": scores["clean"]}
        assert line.data["robust"] == {"miou": scores["worst_case"]}
        assert line.cells[-1] == "ok"
        assert line.alarms == frozenset()
    assert table.rows[0].group == "best"


def test_scores_stand_with_and_without_background(study: Study) -> None:
    rows = [
        row
        for full in study.evaluations
        for row in (full, replace(full, score_name="miou_foreground", score=full.score / 2))
    ]
    table = robustness_table(rows)
    assert table.columns[2:6] == (
        "clean mIoU", "robust mIoU",
        "clean mIoU without background", "robust mIoU without background",
    )  # fmt: skip
    assert all(len(line.cells) == len(table.columns) for line in table.rows)
    first = table.rows[0].data
    assert first["robust"]["miou_foreground"] == pytest.approx(first["robust"]["miou"] / 2)


def test_every_ball_has_its_line(study: Study) -> None:
    rows = [
        row
        for one in study.evaluations
        if one.role == "winner"
        for row in (one, replace(one, norm="l2", epsilon=0.5))
        if row.condition == "worst_case" or row.norm == "linf"
    ]
    assert [line.cells[1] for line in robustness_table(rows).rows] == ["4/255", "0.5 in L2"]


def test_a_suspect_verdict_is_red(study: Study) -> None:
    verdict = "gradient masking suspected: noise beats the attack"
    rows = [replace(row, verdict=verdict) for row in study.evaluations if row.role == "winner"]
    (line,) = robustness_table(rows).rows
    assert line.cells[-1] == verdict
    assert line.alarms == {len(line.cells) - 1}


def test_a_void_score_is_a_bound(study: Study) -> None:
    verdict = "gradients do not describe the function (share 0.91)"
    own = [row for row in study.evaluations if row.role == "winner"]
    rows = [
        row if row.condition == "clean" else replace(row, verdict=verdict, is_bound=True)
        for row in own
    ]
    (line,) = robustness_table(rows).rows
    assert line.cells[3].startswith("at most ")
    assert not line.cells[2].startswith("at most ")
    assert line.data["is_bound"]
    errors = [replace(row, direction="minimize") for row in rows]
    assert robustness_table(errors).rows[0].cells[3].startswith("at least ")
    table = evaluation_table(rows)
    assert all(
        r.cells[3].startswith("at most ") and r.cells[3].endswith(" !") for r in table.rows[1:]
    )
    assert [score["is_bound"] for score in table.rows[1].data["scores"]] == [True]


def test_transfer_is_source_by_target(study: Study) -> None:
    table = transfer_table(study.transfers)
    assert len(table.rows) == len(table.columns) - 1 == 4
    for place, line in enumerate(table.rows):
        assert line.cells[0] == table.columns[place + 1]
        assert line.cells[1 + place] == "20.0 %"
        assert set(line.cells[1:]) == {"20.0 %", "40.0 %"}
    assert "Only the diagonal" in table.notes[0]


def test_several_balls_stand_one_after_the_other(study: Study) -> None:
    """A suite at several radii: each ball ends with its worst case, the sweep comes last."""
    rows = [
        row
        for one in study.evaluations
        if one.role == "winner"
        for row in (one, replace(one, norm="l2", epsilon=0.5), replace(one, epsilon=1 / 255))
        if row is one or row.condition in ("apgd", "worst_case")
    ]
    table = evaluation_table(rows)
    names = [row.cells[0] for row in table.rows if not row.cells[0].startswith("sweep")]
    assert names[-5:] == ["worst case of all", "APGD", "worst case of all", "APGD", names[-1]]
    assert [row.cells[0].startswith("sweep") for row in table.rows][-5:] == [True] * 5
    balls = [line.cells[1] for line in robustness_table(rows).rows]
    assert balls == ["1/255", "4/255", "0.5 in L2"]
