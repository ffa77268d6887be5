"""Charts: the collected data exactly; figures only that they draw."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest

import taskgroup.analysis.charts  # noqa: F401  (registers every chart)
from taskgroup.analysis.base import CHARTS
from taskgroup.analysis.charts.epsilon import EpsilonData, collect_epsilon, draw_epsilon
from taskgroup.analysis.charts.learning_curves import CurvesData, collect_curves, draw_curves
from taskgroup.analysis.charts.pareto import ParetoData, ParetoPoint, collect_pareto, draw_pareto
from taskgroup.analysis.charts.slices import SlicesData, collect_slices, draw_slices
from taskgroup.analysis.charts.task_set import TaskSetData, collect_task_set, draw_task_set
from taskgroup.analysis.charts.transfer import collect_transfer, draw_transfer
from taskgroup.results.records import TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.study import Study

ROBUST = StudyObjective("segmentation/robust/miou")
CLEAN = StudyObjective("segmentation/clean/miou")
MakeTrial = Callable[..., TrialResult]


def study_of(*trials: TrialResult, **changes: Any) -> Study:
    base = Study("rooms-1", "runs/rooms-1", "segmentation", (ROBUST, CLEAN), trials)
    return replace(base, **changes)


@pytest.fixture
def few(make_trial: MakeTrial) -> Study:
    """A natural baseline, an adversarial one, two searched trials and a pruned one."""
    return study_of(
        make_trial(0, clean=0.6, robust=0.05, epsilon=None, label="main only, natural"),
        make_trial(1, clean=0.4, robust=0.25, label="main only, adversarial"),
        make_trial(2, ("depth",), clean=0.5, robust=0.3, epsilon=2 / 255),
        make_trial(3, ("depth",), clean=0.45, robust=0.2, epsilon=8 / 255),
        make_trial(4, ("edges",), epochs=2, status="pruned", reason="below the rung"),
    )


@pytest.mark.parametrize("name", CHARTS.names())
def test_every_chart_draws_zero_one_and_many_trials(
    name: str, study: Study, make_trial: MakeTrial
) -> None:
    one = study_of(make_trial(0, ("depth",)))
    unscored = study_of(make_trial(0, epochs=0, status="failed", reason="NaN"))
    for chart in (CHARTS[name](each) for each in (study_of(), one, unscored, study)):
        assert chart.title
        assert chart.caption
        if chart.figure is not None:
            chart.figure.to_json()
    assert CHARTS[name](study).figure is not None


@pytest.mark.parametrize(
    ("draw", "empty"),
    [
        (draw_pareto, ParetoData(CLEAN, ROBUST)),
        (draw_task_set, TaskSetData(CLEAN, ROBUST)),
        (draw_slices, SlicesData(ROBUST)),
        (draw_curves, CurvesData(CLEAN, ROBUST)),
        (draw_epsilon, EpsilonData(ROBUST)),
    ],
)
def test_every_drawing_takes_no_data(draw: Callable[[Any], go.Figure], empty: object) -> None:
    assert isinstance(draw(empty), go.Figure)


def test_pareto_marks_groups_and_front(few: Study) -> None:
    data = collect_pareto(few)
    assert data.points == (
        ParetoPoint(0, "main only, natural", "natural", 0.6, 0.05, True),
        ParetoPoint(1, "main only, adversarial", "adversarial", 0.4, 0.25, False),
        ParetoPoint(2, "segmentation+depth", "best", 0.5, 0.3, True),
        ParetoPoint(3, "segmentation+depth", "searched", 0.45, 0.2, False),
    )


def test_smaller_is_better_where_the_objective_says_so(few: Study) -> None:
    errors = (replace(ROBUST, direction="minimize"), replace(CLEAN, direction="minimize"))
    data = collect_pareto(replace(few, objectives=errors))
    assert [point.trial for point in data.points if point.on_front] == [0, 1, 3]
    assert [point.trial for point in data.points if point.group == "best"] == [0]
    figure = draw_pareto(data)
    assert figure.layout.xaxis.autorange == figure.layout.yaxis.autorange == "reversed"
    assert list(figure.data[0].x) == [0.6, 0.45, 0.4]
    assert "lower is better" in figure.layout.yaxis.title.text


def test_task_sets_are_rows_from_best_to_worst(few: Study) -> None:
    data = collect_task_set(few)
    assert data.rows == (
        "segmentation+depth",
        "segmentation alone",
        "segmentation alone, natural",
    )
    assert [(p.row, p.trial, p.group) for p in data.points][2:] == [
        ("segmentation+depth", 2, "best"),
        ("segmentation+depth", 3, "searched"),
    ]


def test_slices_show_weights_first_and_skip_what_had_no_effect(few: Study) -> None:
    idle = replace(few.trials[0], parameters={"adversary.epsilon": 1 / 255})
    data = collect_slices(replace(few, trials=(idle, *few.trials[1:])))
    assert [piece.key for piece in data.slices] == [
        "loss_weights.depth",
        "adversary.epsilon",
        "adversary.steps",
        "training.learning_rate",
    ]
    epsilon = data.slices[1]
    assert [(p.trial, p.value, p.robust) for p in epsilon.points] == [
        (1, 4 / 255, 0.25),
        (2, 2 / 255, 0.3),
        (3, 8 / 255, 0.2),
    ]


def test_wide_ranges_are_logarithmic(few: Study) -> None:
    for ratio, expected in ((19, False), (21, True)):
        weights = {2: 0.1, 3: 0.1 * ratio}
        trials = tuple(
            replace(trial, parameters={"loss_weights.depth": weights[trial.number]})
            for trial in few.trials
            if trial.number in weights
        )
        (piece,) = collect_slices(replace(few, trials=trials)).slices
        assert piece.is_log is expected


def test_learning_curves_keep_every_epoch_of_every_trial(few: Study) -> None:
    data = collect_curves(few)
    assert [(c.trial, c.group, c.epochs[-1]) for c in data.clean_curves] == [
        (0, "natural", 8),
        (1, "adversarial", 8),
        (2, "best", 8),
        (3, "searched", 8),
        (4, "unfinished", 2),
    ]
    assert data.robust_curves[2].scores[-1] == 0.3


def test_epsilon_takes_the_sweep_and_leaves_the_huge_radius_out(study: Study) -> None:
    data = collect_epsilon(study)
    assert data.attack == "APGD-20"
    assert [curve.group for curve in data.curves] == ["best", "natural", "adversarial", "several"]
    for curve in data.curves:
        assert curve.epsilons == (0.0, 2 / 255, 4 / 255, 8 / 255, 16 / 255)
        assert all(
            low <= score <= high
            for low, score, high in zip(curve.lows, curve.scores, curve.highs, strict=True)
        )


def test_many_searched_curves_share_a_place_in_the_legend(study: Study) -> None:
    def legend(searched: int) -> list[str]:
        curve = replace(collect_epsilon(study).curves[0], group="searched", label="depth")
        best = replace(curve, group="best", trial=99)
        curves = (*(replace(curve, trial=number) for number in range(searched)), best)
        figure = draw_epsilon(EpsilonData(ROBUST, "APGD-20", curves))
        return [trace.name for trace in figure.data if trace.showlegend]

    assert legend(2) == ["trial 0: depth", "trial 1: depth", "trial 99: depth"]
    assert legend(30) == ["searched", "trial 99: depth"]


def test_networks_without_a_run_have_curves_of_their_own(study: Study) -> None:
    rows = [r for r in study.evaluations if r.role == "winner"]
    strangers = [replace(r, trial=-1, label=label, role="other") for label in "ab" for r in rows]
    data = collect_epsilon(replace(study, evaluations=tuple(strangers)))  # type: ignore[arg-type]
    assert [(curve.label, curve.group) for curve in data.curves] == [("a", "other"), ("b", "other")]
    assert [len(curve.epsilons) for curve in data.curves] == [5, 5]


def test_names_in_figures_are_never_markup(make_trial: MakeTrial) -> None:
    trial = make_trial(0, ("<b>x</b>",))
    for name in ("pareto", "task_set", "learning_curves"):
        figure = CHARTS[name](study_of(trial)).figure
        assert figure is not None
        assert "&lt;b&gt;x" in str(figure.to_dict())
        assert "<b>x" not in str(figure.to_dict())


def test_transfer_is_a_matrix_with_the_attack_itself_on_the_diagonal(study: Study) -> None:
    data = collect_transfer(study)
    assert len(data.sources) == len(data.targets) == 4
    assert data.sources == data.targets
    for place, row in enumerate(data.values):
        assert row[place] == 0.2
        assert set(row) == {0.2, 0.4}
    assert data.attack == "APGD, ε 4/255"
    figure = draw_transfer(data)
    assert figure.data[0].text[0][0] == "20.0 %"


def test_without_company_there_is_no_transfer(study: Study) -> None:
    alone = replace(study, transfers=())
    assert collect_transfer(alone).sources == ()
    assert CHARTS["transfer"](alone).figure is None
