"""Each ball's attack must stand up to what was run inside it; a verdict says where it did not."""

from dataclasses import replace

import pytest
import torch

from taskgroup.attacks.base import AttackBudget, ThreatModel
from taskgroup.evaluation.loading import NetworkSources
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.run import plan_networks
from taskgroup.evaluation.shards.execute import run_here
from taskgroup.evaluation.shards.shard import plan_shards
from taskgroup.evaluation.subjects import Subject
from taskgroup.evaluation.suites import catalogue, strong
from taskgroup.evaluation.suites.conditions import Condition
from taskgroup.evaluation.verdict.network_result import NetworkResult, network_result
from taskgroup.evaluation.verdict.ordering import (
    beats_constant,
    check_ball,
    check_order,
    constant_scores,
    rises,
)
from taskgroup.evaluation.verdict.outcomes import Outcome, finished
from taskgroup.evaluation.verdict.rows import RowMaker
from taskgroup.metrics.accuracy import AccuracyMetric
from taskgroup.metrics.confusion import ConfusionMetric
from taskgroup.tasks.base import IGNORE, Target, TaskInfo, build_task

TASK = build_task(TaskInfo("classification", num_classes=2))
COUNT = 200
HALF, WHOLE, TWICE = (ThreatModel(epsilon=epsilon) for epsilon in (2 / 255, 4 / 255, 8 / 255))
L2 = ThreatModel(norm="l2", epsilon=0.5)
RISES = "the score rises with epsilon"
NEVER = {"accuracy": -1.0}
"""A constant prediction that everything beats."""


def outcome(role, ball, right, *, epsilon=None):
    """A condition that leaves so many of 200 images right."""
    radius = ball.epsilon if epsilon is None else epsilon
    attack = None if role == "clean" else "apgd"
    budget = AttackBudget(norm=ball.norm, epsilon=radius)
    condition = Condition(role, NetworkAttack(attack, budget), role)
    correct = (torch.arange(COUNT) < right).double()
    sums = torch.stack([correct, torch.ones(COUNT).double()], 1)
    valid = torch.ones(COUNT, dtype=torch.int64)
    return Outcome(condition, "", {TASK.name: sums}, {TASK.name: valid}, 1.0)


CLEAN = outcome("clean", WHOLE, 180, epsilon=0.0)
ORDERED = [
    CLEAN,
    outcome("noise", WHOLE, 175),
    outcome("fast", WHOLE, 130),
    outcome("black_box", WHOLE, 120),
    outcome("sweep", WHOLE, 105),
    outcome("sweep", TWICE, 62),
    outcome("strong", WHOLE, 100),
    outcome("strong", HALF, 140),
    outcome("strong", TWICE, 60),
    outcome("strong", L2, 110),
]


def with_strong(ball, right):
    """The same with another end of one ball's attack."""
    return [
        outcome("strong", ball, right)
        if o.condition.role == "strong"
        and o.condition.perturbation.budget == AttackBudget(norm=ball.norm, epsilon=ball.epsilon)
        else o
        for o in ORDERED
    ]


@pytest.mark.parametrize("ball", [HALF, WHOLE, TWICE, L2], ids=str)
def test_an_honest_order_is_silent(ball):
    assert check_ball(ORDERED, TASK, ball, constant=NEVER) == []
    transferred = [CLEAN.sums[TASK.name]]
    assert check_ball(ORDERED, TASK, ball, constant=NEVER, transferred=transferred) == []


@pytest.mark.parametrize(
    ("ball", "right", "expected"),
    [
        (HALF, 190, [RISES]),  # nothing but the clean images lies inside
        (L2, 190, [RISES]),
        (WHOLE, 125, ["fewer steps beat more", "a black-box attack beats the attack"]),
        (WHOLE, 135, ["one step beats many"]),
        (WHOLE, 145, [RISES]),
        (WHOLE, 180, ["noise beats the attack"]),
        (TWICE, 70, ["fewer steps beat more"]),
        (TWICE, 110, [RISES]),
        (TWICE, 125, ["a black-box attack beats the attack"]),  # of half the radius
    ],
)
def test_an_attack_that_is_stuck_is_found_in_its_own_ball(ball, right, expected):
    outcomes = with_strong(ball, right)
    assert set(expected) <= set(check_ball(outcomes, TASK, ball, constant=NEVER))
    for other in {HALF, WHOLE, L2} - {ball}:
        found = check_ball(outcomes, TASK, other, constant=NEVER)
        # A smaller ball knows nothing of it; a larger one only has less to stand up to.
        assert found == []


def test_a_smaller_balls_attack_does_not_cover_for_a_stuck_one():
    """The worst case of a ball holds the smaller ones; its own attack is checked alone."""
    found = check_ball(with_strong(TWICE, 180), TASK, TWICE, constant=NEVER)
    assert found == [
        "noise beats the attack",
        "one step beats many",
        "fewer steps beat more",
        "a black-box attack beats the attack",
        RISES,
    ]


def test_an_attack_on_several_tasks_must_not_beat_the_main_one():
    several = "an attack on several tasks beats the attack"
    assert several not in check_ball(
        [*ORDERED, outcome("tasks", WHOLE, 105)], TASK, WHOLE, constant=NEVER
    )
    assert several in check_ball(
        [*ORDERED, outcome("tasks", WHOLE, 80)], TASK, WHOLE, constant=NEVER
    )


def test_one_image_tells_nothing():
    weaker, stronger = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    assert not rises(TASK.metric(), "accuracy", weaker, stronger, seed=0)


def test_below_a_constant_predictor_radii_have_no_order():
    chance = {"accuracy": 0.6}
    assert check_ball(with_strong(TWICE, 110), TASK, TWICE, constant=chance) == [
        "fewer steps beat more"
    ]


def test_the_runs_ball_has_the_sweep_besides():
    stuck = [*ORDERED, outcome("sweep", WHOLE, 170, epsilon=1.0)]
    assert check_ball(stuck, TASK, WHOLE, constant=NEVER) == []
    assert check_order(stuck, TASK, WHOLE, constant=NEVER) == [
        RISES,
        "a huge epsilon does not reach a constant predictor",
    ]


def test_a_finding_marks_its_own_ball_and_one_of_the_run_marks_all():
    found = NetworkResult(
        (), (), ("predictions are random",), elsewhere=((TWICE, (RISES,)), (L2, ()))
    )
    assert found.findings_in("linf", TWICE.epsilon) == (*found.findings, RISES)
    for ball in (HALF, WHOLE, L2, ThreatModel(norm="l2", epsilon=TWICE.epsilon)):
        assert found.findings_in(ball.norm, ball.epsilon) == found.findings


@pytest.fixture
def full(monkeypatch):
    """The suite ``full`` with a few steps of everything."""
    monkeypatch.setattr(catalogue, "QUERIES", {"full": 4})
    monkeypatch.setattr(catalogue, "TASKS_STEPS", {"full": 4})
    monkeypatch.setattr(strong, "STANDARD", {"dense": (("tempered", 6), ("sea", 6))})
    monkeypatch.setattr(strong, "FULL_ALSO", {"dense": (("segpgd", 6), ("cospgd", 6))})
    monkeypatch.setattr(catalogue, "SWEEP_STEPS", 4)
    return EvaluationOptions("full")


def test_the_rows_of_each_ball_carry_what_was_found_there(full, make_loaded, trained, batch):
    """The attacks in the ball of twice the radius are replaced by nothing at all; others work."""
    loaded = make_loaded([trained], batch, task_set=("segmentation",))
    plans = plan_networks(loaded, full)
    results = dict(run_here(loaded, plan_shards(plans)))
    clean = next(r for s, r in results.items() if s.condition.role == "clean").parts[0]
    for shard, result in results.items():
        radius = shard.condition.perturbation.budget.epsilon
        if (shard.condition.role, radius) == ("strong", TWICE.epsilon):
            parts = tuple(part._replace(sums=clean.sums) for part in result.parts)
            results[shard] = replace(result, parts=parts)
    result = network_result(loaded, plans, finished(results.items()), 0)
    subject = Subject(0, "stuck", "other", "")
    rows = RowMaker(subject, loaded.networks[0], result, "full", NetworkSources()).rows()
    assert result.findings == ()
    assert len({(row.norm, row.epsilon) for row in rows if row.condition == "tempered"}) == 6
    marked = {(row.norm, row.epsilon) for row in rows if row.verdict != "ok"}
    assert marked == {("linf", TWICE.epsilon)}
    (verdict,) = {row.verdict for row in rows} - {"ok"}
    assert RISES in verdict
    assert "one step beats many" in verdict


def accuracy_sums(right, count):
    correct = (torch.arange(count) < right).double()
    return torch.stack([correct, torch.ones(count).double()], 1)


@pytest.mark.parametrize(
    ("weaker", "stronger", "count", "expected"),
    [
        (50, 50, 100, False),
        (50, 40, 100, False),
        (500, 505, 1000, False),  # within a point
        (5, 6, 10, False),  # within two standard errors
        (50, 80, 100, True),
    ],
)
def test_a_rise_must_be_larger_than_chance(weaker, stronger, count, expected):
    sums = [accuracy_sums(right, count) for right in (weaker, stronger)]
    assert rises(AccuracyMetric(), "accuracy", *sums, seed=0) is expected


def test_beating_a_constant():
    sums = accuracy_sums(30, 100)
    for constant, beaten in [(0.2, True), (0.295, False), (0.5, False), (torch.nan, False)]:
        assert beats_constant(AccuracyMetric(), sums, {"accuracy": constant}) is beaten


def test_a_constant_must_be_beaten_by_every_score():
    sums = torch.tensor([[1.0, 4, 4, 8, 12, 12, 9, 14, 13]]).double()
    metric = ConfusionMetric(3)
    scores = {name: float(value) for name, value in metric.score(sums[0]).items()}
    lower = {name: value - 0.02 for name, value in scores.items()}
    assert beats_constant(metric, sums, lower)
    for name in scores:
        assert not beats_constant(metric, sums, lower | {name: scores[name]})


def constant_score(task, targets):
    return constant_scores(task, targets)[task.main_score]


def everywhere(values):
    return torch.ones(len(values), *values.shape[-2:], dtype=torch.bool)


def test_the_commonest_class_over_the_number_of_classes():
    task = build_task(TaskInfo("segmentation", num_classes=4))
    values = torch.zeros(2, 8, 8, dtype=torch.long)
    values[:, :2] = 2
    assert constant_score(task, [Target(values, everywhere(values))]) == pytest.approx(0.75 / 2)


def test_invalid_pixels_do_not_count():
    task = build_task(TaskInfo("segmentation", num_classes=4))
    values = torch.full((1, 8, 8), IGNORE)
    values[:, :4] = 1
    target = Target(values, values != IGNORE)
    assert constant_score(task, [target]) == pytest.approx(1)


def test_the_middle_of_the_numbers():
    task = build_task(TaskInfo("depth"))
    values = torch.full((3, 1, 8, 8), 2.0)
    target = Target(values, everywhere(values))
    assert constant_score(task, [target, target]) == pytest.approx(0, abs=1e-6)


def test_logits_are_tried_at_both_ends():
    task = build_task(TaskInfo("saliency"))
    values = torch.zeros(1, 1, 8, 8)
    values[..., :4] = 1
    score = constant_score(task, [Target(values, everywhere(values))])
    assert score == pytest.approx(2 / 3)  # all ones: precision 1/2, recall 1


def test_one_class_per_image():
    task = build_task(TaskInfo("classification", num_classes=3))
    values = torch.tensor([0, 1, 1, 2])
    target = Target(values, torch.ones(4, dtype=torch.bool))
    assert constant_score(task, [target]) == pytest.approx(0.5)


def test_each_score_has_its_own_best_constant():
    task = build_task(TaskInfo("depth"))
    values = torch.ones(1, 1, 16, 16)
    values[..., 12:] = 9
    scores = constant_scores(task, [Target(values, everywhere(values))])
    assert scores["abs_rel"] == pytest.approx(0.25 * 8 / 9)  # the median, 1
    assert scores["rmse"] == pytest.approx(12**0.5)  # the mean, 3


def test_nothing_valid_has_no_score():
    task = build_task(TaskInfo("depth"))
    values = torch.ones(1, 1, 8, 8)
    score = constant_score(task, [Target(values, ~everywhere(values))])
    assert score != score
