"""Agreement between a proxy stage and the real setting."""

from dataclasses import replace

import numpy as np
import pytest

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.proxy import agreement_text, proxy_agreement, proxy_pairs

OBJECTIVE = StudyObjective("segmentation/robust/miou")


def study(proxy: list[float], real: dict[int, float]) -> list[TrialResult]:
    """Stand-ins by number, and the real trials of some of them behind."""
    base = TrialResult(
        number=0, label="", role="searched", config={}, parameters={}, main_task="segmentation",
        auxiliary_tasks=(), output_dimension=1, status="complete", stage="proxy",
    )  # fmt: skip

    def measured(number: int, score: float, **changes: object) -> TrialResult:
        rows = (EpochRow(1, {OBJECTIVE.metric: score}, 1.0, 0),)
        return replace(base, number=number, epochs=rows, **changes)  # type: ignore[arg-type]

    stand_ins = [measured(number, score) for number, score in enumerate(proxy)]
    promoted = [
        measured(len(proxy) + index, score, stage="search", parent=parent)
        for index, (parent, score) in enumerate(real.items())
    ]
    return stand_ins + promoted


def test_pairs_join_a_trial_to_its_stand_in() -> None:
    trials = study([0.1, 0.2, 0.3], {2: 0.6, 0: 0.5})
    assert [(proxy.number, real.number) for proxy, real in proxy_pairs(trials)] == [(2, 3), (0, 4)]
    unfinished = [replace(t, status="interrupted") if t.number == 3 else t for t in trials]
    assert [real.number for _, real in proxy_pairs(unfinished)] == [4]
    assert proxy_pairs(study([0.1], {})) == []


def test_same_order_agrees_fully_whatever_the_scores() -> None:
    trials = study([0.1, 0.3, 0.2, 0.5, 0.4], {
        0: 1.0, 1: 3.0, 2: 2.0, 3: 9.0, 4: 8.0,
    })  # fmt: skip
    found = proxy_agreement(trials, OBJECTIVE)
    assert found.value == pytest.approx(1)
    assert found.pairs == 5
    worse_is_better = StudyObjective(OBJECTIVE.metric, "minimize")
    assert proxy_agreement(trials, worse_is_better).value == pytest.approx(1)


def test_few_pairs_say_so() -> None:
    assert agreement_text(proxy_agreement(study([0.1, 0.2], {0: 1.0, 1: 2.0}), OBJECTIVE)) == (
        "Spearman 1.00 over 2 trials, too few for an interval"
    )
    nothing = proxy_agreement([], OBJECTIVE)
    assert np.isnan(nothing.value)
    assert agreement_text(nothing).startswith("not known: 0 trials")
