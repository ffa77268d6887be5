"""The length of a first step is the one that is taken; radii that make no sense are refused."""

import pytest
import torch

from taskgroup.attacks.base import ATTACKS, AttackBudget, ThreatModel, step_length
from taskgroup.config import parse
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError


@pytest.mark.parametrize(
    ("attack", "changes", "length"),
    [
        ("fgsm", {}, 0.04),
        ("fgsm", {"random_start": True}, 0.05),
        ("fgsm", {"step_size": 0.01}, 0.01),
        ("pgd", {}, 0.01),
        ("bim", {"steps": 20}, 0.005),
        ("mim", {"step_size": 0.03}, 0.03),
        ("apgd", {}, 0.08),
        ("apgd", {"step_size": 0.01}, 0.01),
        ("sea", {"step_size": 0.01}, 0.08),
        ("autoattack", {}, 0.08),
        ("tempered", {"step_size": 0.01}, 0.08),
        ("apgd_targeted", {"step_size": 0.01}, 0.08),
        ("apgd_metrics", {"step_size": 0.01}, 0.01),
        ("noise", {}, None),
        ("square", {}, None),
        (None, {}, None),
    ],
)
def test_step_length(attack, changes, length):
    budget = AttackBudget(epsilon=0.04, steps=10, random_start=False).model_copy(update=changes)
    assert step_length(attack, budget) == (None if length is None else pytest.approx(length))


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "bim", "mim", "apgd"])
def test_it_is_the_step_that_is_taken(attack, objective_from):
    grey = torch.full((1, 3, 4, 4), 0.5)
    rising = objective_from(lambda x: x.sum((1, 2, 3)))
    budget = AttackBudget(epsilon=0.2, steps=1, step_size=None, random_start=False, keep="last")
    moved = ATTACKS[attack](rising, grey, budget=budget, draws=Draws(torch.Generator()))
    taken = min(step_length(attack, budget), budget.epsilon)
    torch.testing.assert_close(moved - grey, torch.full_like(grey, taken))


@pytest.mark.parametrize("epsilon", [8, 1.5, "8", "4"])
def test_a_radius_in_units_of_1_255_is_refused_in_linf(epsilon):
    with pytest.raises(
        ConfigError, match=r"epsilon must lie in \[0, 1\], got .*; did you mean .*/"
    ):
        parse(ThreatModel, {"epsilon": epsilon})


@pytest.mark.parametrize("epsilon", [0.5, 8, "128/255", 30])
def test_an_l2_radius_may_exceed_one(epsilon):
    assert parse(ThreatModel, {"norm": "l2", "epsilon": epsilon}).epsilon > 0


@pytest.mark.parametrize("epsilon", [-0.1, float("nan"), float("inf"), "eight"])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_what_is_no_radius_is_refused(epsilon, norm):
    with pytest.raises(ConfigError, match="epsilon"):
        parse(ThreatModel, {"norm": norm, "epsilon": epsilon})


def test_an_unknown_norm_is_named():
    with pytest.raises(ConfigError, match="norm must be 'linf', 'l2' or 'l1', got 'l0'"):
        parse(ThreatModel, {"norm": "l0", "epsilon": 8})


def test_the_first_step_of_apgd_in_l1_is_epsilon():
    assert step_length("apgd", AttackBudget(norm="l1", epsilon=12.0)) == 12.0
