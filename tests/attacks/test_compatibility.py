"""Which attacks fit which tasks, and which have known bugs to reproduce."""

import pytest
import torch

from taskgroup.attacks.base import ATTACKS, AttackBudget
from taskgroup.attacks.compatibility import KNOWN_BUGS, NEEDS, WITHOUT_L1, check_fit
from taskgroup.draws import Draws
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


@pytest.mark.parametrize("attack", ["autoattack", "apgd_targeted"])
def test_a_single_class_is_refused(attack):
    check_fit(attack, "class")
    check_fit(attack, "class", num_classes=2)
    with pytest.raises(ConfigError, match="needs at least 2 classes, got 1; choose"):
        check_fit(attack, "class", num_classes=1)


def test_the_tables_name_attacks_that_exist():
    assert set(NEEDS) | KNOWN_BUGS | WITHOUT_L1 <= set(ATTACKS)


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - KNOWN_BUGS))
def test_an_attack_without_known_bugs_refuses_seed_compatible(name, objective, images):
    budget = AttackBudget(seed_compatible=True)
    with pytest.raises(
        ConfigError, match=f"must be false for attack '{name}'.* choose one of: bim"
    ):
        ATTACKS[name](objective, images, budget=budget, draws=Draws(torch.Generator()))


@pytest.mark.parametrize("name", sorted(WITHOUT_L1))
def test_an_attack_without_steps_for_l1_is_refused_there(name, objective, images):
    budget = AttackBudget(norm="l1", epsilon=4.0)
    with pytest.raises(ConfigError, match=f"'{name}' must go with norm linf or l2.* choose apgd"):
        ATTACKS[name](objective, images, budget=budget, draws=Draws(torch.Generator()))
