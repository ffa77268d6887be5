"""What is shown while a search runs and when it ends."""

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
import torch
from rich.console import Console

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.search.answer.live_table import row_texts, shown, study_table
from taskgroup.search.answer.progress import Progress
from taskgroup.search.plan.baselines import plan_baselines
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.study.objectives import StudyObjective
from taskgroup.wording import MINUS

ROBUST, CLEAN = "segmentation/robust/miou", "segmentation/clean/miou"
OBJECTIVES = (StudyObjective(ROBUST), StudyObjective(CLEAN))


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def planned(make_space: Callable[..., SearchSpace]) -> list[TrialResult]:
    return plan_baselines(make_space("search.trials=15"))


def after(record: TrialResult, *scores: float, **changes: Any) -> TrialResult:
    rows = tuple(
        EpochRow(epoch, {ROBUST: score, CLEAN: 1 - score}, 2.0, 1)
        for epoch, score in enumerate(scores, 1)
    )
    return replace(record, epochs=rows, **changes)


def ended(record: TrialResult, *scores: float) -> TrialResult:
    return after(record, *scores, status="complete", reason=None)


def make_progress(
    total: int = 4, clock: Callable[[], float] | None = None, rungs: tuple[int, ...] = ()
) -> Progress:
    return Progress(
        "little", total=total, epochs=2, objectives=OBJECTIVES, robust=ROBUST, rungs=rungs,
        clock=clock or Clock(),
    )  # fmt: skip


def test_best_counts_complete_trials_only(planned: list[TrialResult]) -> None:
    progress = make_progress()
    assert progress.best is None
    progress.update(ended(planned[0], 0.1, 0.2))
    progress.update(after(planned[1], 0.9))
    assert progress.best is not None
    assert progress.best.number == 0
    assert progress.num_ended == 1


def test_time_left_leaves_the_start_of_the_engine_out(planned: list[TrialResult]) -> None:
    clock = Clock()
    progress = make_progress(total=4, clock=clock)
    assert progress.eta() is None
    clock.now = 30.0
    progress.update(after(planned[0], 0.1))
    assert progress.eta() == pytest.approx(7 * 2.0), "one epoch took 2 s, seven are left"
    clock.now = 36.0
    progress.update(ended(planned[0], 0.1, 0.2))
    assert progress.eta() == pytest.approx(6 * 4.0)
    progress.update(after(planned[1], 0.1, status="pruned", reason="x"))
    assert progress.eta() == pytest.approx(4 * 2.0), "a pruned trial has no epochs left"


def test_row_shows_trial_scores_and_status(planned: list[TrialResult]) -> None:
    progress = make_progress()
    record = after(planned[2], 0.25)
    assert row_texts(progress, record) == [
        "2", "all candidates, equal weights",
        "depth 0.1, edges 0.1, normals 0.1, epsilon 2/255, steps 2, learning rate 0.00316",
        "1/4", "75.0 %", "25.0 %", "running",
    ]  # fmt: skip
    assert row_texts(progress, planned[0])[3:] == ["0/4", "-", "-", "starting"]


def test_long_study_shows_its_latest_trials_and_its_best(planned: list[TrialResult]) -> None:
    progress = make_progress(total=6)
    for record, score in zip(planned, (0.1, 0.9, 0.2, 0.3, 0.4, 0.5), strict=True):
        progress.update(ended(record, score))
    table = study_table(progress, max_rows=3)
    assert list(table.columns[0].cells) == ["1", "4", "5"]
    assert table.caption == "best so far: trial 1 (90.0 %)"


def test_without_a_terminal_each_trial_gets_one_line(planned: list[TrialResult]) -> None:
    text = StringIO()
    with shown(make_progress(), Console(file=text, width=40)) as update:
        update(planned[0])
        update(after(planned[0], 0.1))
        update(ended(planned[0], 0.1, 0.2))
        update(ended(planned[0], 0.1, 0.2))
        update(after(planned[1], 0.1, status="failed", reason="the loss became [NaN]"))
    first, second = text.getvalue().splitlines()
    assert first.startswith(
        "[1/4] trial 0 main only, natural | learning rate 0.00316 | clean 80.0 % | "
    )
    assert " | robust 20.0 % | complete | best so far: trial 0 (20.0 %)" in first
    assert "failed: the loss became [NaN]" in second


def test_terminal_gets_a_live_table(planned: list[TrialResult]) -> None:
    text = StringIO()
    console = Console(file=text, width=140, height=30, force_terminal=True)
    with shown(make_progress(), console) as update:
        update(ended(planned[0], 0.1, 0.2))
    assert "main only, natural" in text.getvalue()
    assert "complete" in text.getvalue()


@pytest.mark.parametrize("sign", [1, -1])
def test_caption_warns_of_rungs_that_mislead(planned: list[TrialResult], sign: int) -> None:
    """The better a trial is after an epoch, the better it ends, or the worse."""
    progress = make_progress(total=9, rungs=(1,))
    for n, trial in enumerate(planned[1:5]):
        progress.update(ended(replace(trial, planned_epochs=2), 0.1 * n, 0.5 + sign * 0.1 * n))
    caption = str(study_table(progress, max_rows=9).caption)
    correlation = "1.00" if sign == 1 else f"{MINUS}1.00"
    assert f"rank agreement of rung 1 with the end: {correlation} (4 trials)" in caption
    assert ("LOW rank agreement" in caption) == (sign == -1)


def test_running_tallies_are_what_counting_anew_gives(
    planned: list[TrialResult], generator: torch.Generator
) -> None:
    def drawn(count: int) -> int:
        return int(torch.randint(count, (1,), generator=generator))

    progress = Progress(
        "little", total=12, epochs=2, objectives=OBJECTIVES, robust=ROBUST, max_clean_drop=0.3
    )
    searched = [replace(planned[2], number=number, role="searched") for number in range(6, 12)]
    for _ in range(200):
        record = (planned[:6] + searched)[drawn(12)]
        status = ("interrupted", "complete", "pruned", "failed")[drawn(4)]
        scores = [drawn(10) / 10 for _ in range(drawn(3))]
        progress.update(after(record, *scores, status=status))
        anew = Progress(
            "little", total=12, epochs=2, objectives=OBJECTIVES, robust=ROBUST,
            records=list(progress.records.values()), max_clean_drop=0.3,
        )  # fmt: skip
        assert progress.best == anew.best
        assert progress.num_ended == anew.num_ended
