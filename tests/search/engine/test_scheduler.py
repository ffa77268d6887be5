"""Who stops: whom ASHA stops, with several objectives too, and all once the time is over."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.search.engine.budget import TimeBudget, busy_seconds
from taskgroup.search.engine.scheduler import StudyScheduler, build_scheduler
from taskgroup.search.engine.searcher import RECORD
from taskgroup.search.plan.baselines import middle_trial
from taskgroup.search.plan.planning import plan_trial, to_text
from taskgroup.search.space.search_space import SearchSpace

Make = Callable[..., SearchSpace]
ASHA = "search={trials: 40, scheduler: asha, grace_epochs: 1, reduction: 2}"


class RayTrial:
    """What Ray's scheduler looks at in a trial."""

    def __init__(self, number: int) -> None:
        self.trial_id = str(number)


def after(space: SearchSpace, number: int, rows: Any, **changes: Any) -> TrialResult:
    """A trial that measured some rows of all objectives."""
    names = [objective.metric for objective in space.objectives]
    epochs = tuple(
        EpochRow(n, dict(zip(names, map(float, row), strict=True)), 1.0, 1)
        for n, row in enumerate(rows, 1)
    )
    done = len(epochs) == space.planned_epochs
    record = plan_trial(number, middle_trial(space))
    return replace(
        record, **{"epochs": epochs, "status": "complete" if done else "interrupted", **changes}
    )


def decide(scheduler: StudyScheduler, record: TrialResult) -> bool:
    """Whether the trial must stop."""
    trial: Any = RayTrial(record.number)
    answer = scheduler.on_trial_result(None, trial, {RECORD: to_text(record)})
    return answer == TrialScheduler.STOP


def play(space: SearchSpace, scores: Any, stops: Callable[[TrialResult], bool]) -> dict[int, int]:
    """Run trials three at a time; the epoch at which each of them stopped or ended."""
    reached: dict[int, int] = {}
    waiting = list(range(len(scores)))
    running = [waiting.pop(0) for _ in range(3)]
    while running:
        number = running.pop(0)
        reached[number] = epoch = reached.get(number, 0) + 1
        has_stopped = stops(after(space, number, scores[number][:epoch]))
        if not has_stopped and epoch < space.planned_epochs:
            running.append(number)
        elif waiting:
            running.append(waiting.pop(0))
    return reached


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("reduction", [2, 3])
def test_one_objective_stops_whom_rays_asha_stops(
    make_space: Make, direction: str, reduction: int
) -> None:
    metric = "segmentation/robust/miou"
    search = f"search={{trials: 30, scheduler: asha, grace_epochs: 1, reduction: {reduction}}}"
    space = make_space(search, "training.epochs=9", objectives=[{direction: metric}])
    theirs = AsyncHyperBandScheduler(
        time_attr="epoch", metric=metric, mode=direction[:3], max_t=9,
        reduction_factor=reduction, stop_last_trials=False,
    )  # fmt: skip
    ours = build_scheduler(space, budget=TimeBudget())
    trials = {number: RayTrial(number) for number in range(30)}
    for trial in trials.values():
        theirs.on_trial_add(None, trial)  # type: ignore[arg-type]

    def rays_answer(record: TrialResult) -> bool:
        row = record.epochs[-1]
        result = {**row.metrics, "epoch": row.epoch}
        answer = theirs.on_trial_result(None, trials[record.number], result)  # type: ignore[arg-type]
        return bool(answer == TrialScheduler.STOP)

    scores = np.random.default_rng(reduction).random((30, 9, 1)).cumsum(axis=1)
    reached = play(space, scores, lambda record: decide(ours, record))
    assert reached == play(space, scores, rays_answer)
    assert {min(reached.values()), max(reached.values())} == {1, 9}


def test_several_objectives_keep_the_front(make_space: Make) -> None:
    """A trial that some other beats in both objectives at all times stops; the front goes on."""
    objectives = [{"maximize": "segmentation/robust/miou"}, {"maximize": "segmentation/clean/miou"}]
    space = make_space(ASHA, "training.epochs=9", objectives=objectives)
    scheduler = build_scheduler(space, budget=TimeBudget())
    angles = np.linspace(0.1, 1.4, 8)
    front = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    scores = np.concatenate([front, 0.5 * front, 0.4 * front])[:, None].repeat(9, axis=1)
    reached = play(space, scores, lambda record: decide(scheduler, record))
    assert sum(reached[n] == 9 for n in range(8)) >= 4
    assert max(reached[n] for n in range(8, 24)) < 9
    stopped = scheduler.stopped
    assert {record.status for record in stopped.values()} == {"pruned"}
    assert stopped[23].reason == "not in the best 1/2 at the rung of epoch 1 of 9"


def test_full_length_trial_is_complete_however_bad(make_space: Make) -> None:
    space = make_space(ASHA, "training.epochs=2")
    over = TimeBudget(1.0, spent=2.0)
    scheduler = build_scheduler(space, budget=over)
    assert not decide(scheduler, after(space, 0, [[0.9], [0.9]]))
    assert not decide(scheduler, after(space, 1, [[0.1], [0.1]]))
    assert scheduler.stopped == {}


def test_baseline_is_never_stopped_at_a_rung(make_space: Make) -> None:
    space = make_space(ASHA)
    scheduler = build_scheduler(space, budget=TimeBudget())
    assert not decide(scheduler, after(space, 0, [[0.9]]))
    assert not decide(scheduler, after(space, 1, [[0.1]], role="baseline"))
    assert decide(scheduler, after(space, 2, [[0.1]]))


def test_trials_of_earlier_sessions_count_at_rungs(make_space: Make) -> None:
    space = make_space(ASHA)
    before = [after(space, 0, [[0.9]] * 4), after(space, 1, [[0.8]], status="interrupted")]
    scheduler = build_scheduler(space, budget=TimeBudget(), records=before)
    assert not decide(scheduler, after(space, 1, [[0.8]])), "it went on before"
    assert decide(scheduler, after(space, 2, [[0.1]]))


@pytest.mark.parametrize(
    ("complete", "sign", "is_stopped"), [(7, -1, True), (8, -1, False), (8, 1, True)]
)
def test_a_rung_that_ranks_at_random_stops_nobody_any_more(
    make_space: Make, complete: int, sign: int, is_stopped: bool
) -> None:
    """The better at the rung, the worse at the end: in this session or in an earlier one."""
    space = make_space(ASHA)
    trials = [
        after(space, n, [[0.5 + 0.01 * n], [0.5], [0.5], [0.5 + sign * 0.01 * n]])
        for n in range(complete)
    ]
    resumed = build_scheduler(space, budget=TimeBudget(), records=trials)
    running = build_scheduler(space, budget=TimeBudget())
    for trial in trials:
        decide(running, replace(trial, epochs=trial.epochs[:1], status="interrupted"))
        decide(running, trial)
    for scheduler in (resumed, running):
        assert decide(scheduler, after(space, 90, [[0.1]])) == is_stopped


def test_time_that_is_over_interrupts_without_judging(make_space: Make) -> None:
    space = make_space("search.trials=9")
    now = [0.0]
    scheduler = build_scheduler(space, budget=TimeBudget(60, spent=20, clock=lambda: now[0]))
    assert not decide(scheduler, after(space, 0, [[0.1]]))
    now[0] = 40.0
    assert decide(scheduler, after(space, 0, [[0.1], [0.2]]))
    assert decide(scheduler, after(space, 1, [[0.1]], role="baseline"))
    stopped = scheduler.stopped[0]
    assert stopped.status == "interrupted"
    assert stopped.reason == "search.max_seconds was over after epoch 2 of 4"


def test_trial_that_cannot_be_written_is_judged_by_nobody(make_space: Make) -> None:
    space = make_space(ASHA)
    scheduler = build_scheduler(space, budget=TimeBudget())
    assert not decide(scheduler, after(space, 0, [[0.9]]))
    given_up = after(space, 1, [[0.1]], status="interrupted", reason="no space left on device")
    assert not decide(scheduler, given_up)
    assert decide(scheduler, after(space, 1, [[0.1]], status="interrupted"))


def test_search_that_must_end_early_stops_what_runs(make_space: Make) -> None:
    space, budget = make_space("search.trials=9"), TimeBudget()
    scheduler = build_scheduler(space, budget=budget)
    budget.cut("the disk was full: stopped")
    assert budget.is_over
    assert decide(scheduler, after(space, 0, [[0.1]]))
    stopped = scheduler.stopped[0]
    assert stopped.status == "interrupted"
    assert stopped.reason == "the disk was full: stopped after epoch 1 of 4"


def test_rays_own_files_hold_nothing_of_the_scheduler(make_space: Make, tmp_path: Any) -> None:
    scheduler = build_scheduler(make_space(ASHA), budget=TimeBudget())
    scheduler.save(str(tmp_path / "state"))
    scheduler.restore(str(tmp_path / "state"))
    assert scheduler.debug_string() == "0 trials stopped"


def test_budget_counts_what_earlier_sessions_took() -> None:
    now = [100.0]
    budget = TimeBudget(50, spent=30, clock=lambda: now[0])
    assert budget.left == 20
    now[0] = 125.0
    assert budget.is_over
    assert budget.left == 0
    assert TimeBudget().left is None
    assert not TimeBudget().is_over


def test_busy_time_is_the_union_of_all_trials(make_space: Make) -> None:
    space = make_space()

    def stretch(number: int, begin: str, seconds: float) -> TrialResult:
        changes = {"started": f"2026-11-21T08:{begin}+00:00", "seconds": seconds}
        return after(space, number, [], **changes)

    trials = [
        stretch(0, "00:00", 60.0),
        stretch(1, "00:30", 60.0),  # 30 s beside the first
        stretch(2, "00:40", 10.0),  # all of it beside others
        stretch(3, "10:00", 5.0),
        after(space, 4, []),  # never began
    ]
    assert busy_seconds(trials) == 95.0
    assert busy_seconds(trials[::-1]) == 95.0
    assert busy_seconds([]) == 0.0
