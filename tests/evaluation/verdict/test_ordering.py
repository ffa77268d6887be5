"""Each ball's attack must stand up to what was run inside it; a verdict says where it did not."""

from dataclasses import replace

import pytest
import torch

from taskgroup.attacks.base import AttackBudget, ThreatModel
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import plan_networks
from taskgroup.evaluation.shards.bench import BenchPlan
from taskgroup.evaluation.shards.shard import plan_shards
from taskgroup.evaluation.shards.threads import run_here
from taskgroup.evaluation.subjects import Subject
from taskgroup.evaluation.suites import catalogue
from taskgroup.evaluation.suites.conditions import Condition
from taskgroup.evaluation.verdict.measured import Measured, put_together
from taskgroup.evaluation.verdict.ordering import check_ball, check_order
from taskgroup.evaluation.verdict.outcomes import Outcome, finished
from taskgroup.evaluation.verdict.rows import RowMaker
from taskgroup.tasks.base import TaskInfo, build_task

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
    condition = Condition(role, attack, AttackBudget(norm=ball.norm, epsilon=radius), role=role)
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
        and (o.condition.budget.norm, o.condition.budget.epsilon) == (ball.norm, ball.epsilon)
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
    """The worst case of a ball holds the smaller ones; its own attack is judged alone."""
    found = check_ball(with_strong(TWICE, 180), TASK, TWICE, constant=NEVER)
    assert found == [
        "noise beats the attack",
        "one step beats many",
        "fewer steps beat more",
        "a black-box attack beats the attack",
        RISES,
    ]


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
    found = Measured((), (), ("predictions are random",), elsewhere=((TWICE, (RISES,)), (L2, ())))
    assert found.findings_in(AttackBudget(epsilon=TWICE.epsilon)) == (*found.findings, RISES)
    for ball in (HALF, WHOLE, L2, ThreatModel(norm="l2", epsilon=TWICE.epsilon)):
        assert found.findings_in(ball) == found.findings


@pytest.fixture
def full(monkeypatch):
    """The suite ``full`` with a few steps of everything."""
    few = {"SEA_STEPS": 6, "SWEEP_STEPS": 4, "QUERIES": {"full": 4}, "TASKS_STEPS": {"full": 4}}
    for name, value in few.items():
        monkeypatch.setattr(catalogue, name, value)
    return EvaluationOptions("full")


def test_the_rows_of_each_ball_carry_what_was_found_there(full, make_bench, trained, batch):
    """SEA in the ball of twice the radius is replaced by nothing at all; the others work."""
    bench = make_bench([trained], batch, task_set=("segmentation",))
    plans = plan_networks(bench, full)
    results = dict(run_here(bench, plan_shards(plans)))
    clean = next(r for s, r in results.items() if s.condition.role == "clean").parts[0]
    for shard, result in results.items():
        if (shard.condition.attack, shard.condition.budget.epsilon) == ("sea", TWICE.epsilon):
            parts = tuple(part._replace(sums=clean.sums) for part in result.parts)
            results[shard] = replace(result, parts=parts)
    measured = put_together(bench, plans, finished(results.items()), 0)
    subject = Subject(0, "stuck", "other", "")
    rows = RowMaker(subject, bench.networks[0], measured, "full", BenchPlan(())).rows()
    assert measured.findings == ()
    assert len({(row.norm, row.epsilon) for row in rows if row.condition == "sea"}) == 6
    marked = {(row.norm, row.epsilon) for row in rows if row.verdict != "ok"}
    assert marked == {("linf", TWICE.epsilon)}
    (verdict,) = {row.verdict for row in rows} - {"ok"}
    assert RISES in verdict
    assert "one step beats many" in verdict
