"""Which attacks fit which tasks, and which have published slips to repeat."""

import pytest
import torch

from taskgroup.attacks.base import ATTACKS, AttackBudget, ThreatModel
from taskgroup.attacks.compatibility import HAVE_SLIPS, NEEDS, check_fit
from taskgroup.config import parse
from taskgroup.errors import ConfigError


@pytest.mark.parametrize("attack", list(NEEDS))
@pytest.mark.parametrize("predicts", ["class_map", "class", "numbers"])
def test_an_attack_takes_one_kind_of_task(attack, predicts):
    if predicts == NEEDS[attack]:
        check_fit(attack, predicts, num_classes=4)
    else:
        with pytest.raises(ConfigError, match=f"attack '{attack}' needs .*, but .*; choose"):
            check_fit(attack, predicts, num_classes=4)


@pytest.mark.parametrize("attack", sorted(set(ATTACKS) - set(NEEDS)))
@pytest.mark.parametrize("predicts", ["class_map", "class", "numbers"])
def test_the_others_take_any_task(attack, predicts):
    check_fit(attack, predicts)


def test_autoattack_wants_four_classes():
    check_fit("autoattack", "class")
    with pytest.raises(ConfigError, match="at least 4 classes for its logit ratios, got 3; choose"):
        check_fit("autoattack", "class", num_classes=3)


def test_the_tables_name_attacks_that_exist():
    assert set(NEEDS) | HAVE_SLIPS <= set(ATTACKS)


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - HAVE_SLIPS))
def test_an_attack_without_slips_refuses_to_repeat_them(name, objective, images):
    budget = AttackBudget(seed_compatible=True)
    with pytest.raises(ConfigError, match=f"stay away from attack '{name}'.* choose one of: bim"):
        ATTACKS[name](objective, images, budget=budget, generator=torch.Generator())


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
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_no_radius_is_refused(epsilon, norm):
    with pytest.raises(ConfigError, match="epsilon"):
        parse(ThreatModel, {"norm": norm, "epsilon": epsilon})


def test_an_unknown_norm_is_named():
    with pytest.raises(ConfigError, match="norm must be 'linf' or 'l2', got 'l1'"):
        parse(ThreatModel, {"norm": "l1", "epsilon": 8})
