"""What the adversaries do to a batch, and that they leave the network as it was."""

import copy

import pytest
import torch

from taskgroup.draws import Draws
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.tasks.base import Target
from taskgroup.training.adversary import build_adversary
from taskgroup.training.divergence import DivergenceObjective
from taskgroup.training.fit import prepare

EPSILON = 8 / 255
KINDS = {
    "pgd": {"attack": "pgd", "steps": 3},
    "fgsm": {"attack": "fgsm"},
    "trades": {"attack": "pgd", "method": "trades", "steps": 3},
}


@pytest.fixture
def setting(trial):
    """``setting(**adversary)`` gives the state, its adversary and a batch."""

    def build(**adversary):
        config = trial(auxiliary_tasks=["depth"], adversary={"epsilon": EPSILON, **adversary})
        state, _ = prepare(config)
        state.train()
        batch = config.dataset.open("train", config.task_set).batch(range(8))
        return state, build_adversary(config, state.model, state.tasks, precision=None), batch

    return build


def attack(adversary, batch, seed=0):
    return adversary(batch, Draws.seeded(seed, "attack"))


def loss_of(state, batch, images, tasks):
    objective = TaskObjective(
        state.model, state.tasks, batch.targets, main_task=None, attacked_tasks=tasks
    )
    with fixed_network(state.model), torch.no_grad():
        return objective(images, 0.0).loss


@pytest.mark.parametrize("kind", KINDS)
def test_attacked_images_stay_in_the_ball_and_the_network_as_it_was(setting, kind):
    state, adversary, batch = setting(**KINDS[kind])
    before = copy.deepcopy(state.model.state_dict())
    random = torch.get_rng_state()
    attacked = attack(adversary, batch)[-1]
    assert (attacked - batch.images).abs().max() <= EPSILON + 1e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert not attacked.requires_grad
    for name, value in state.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(module.training for module in state.model.modules())
    assert all(p.requires_grad and p.grad is None for p in state.parameters())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("kind", KINDS)
def test_attack_depends_on_its_generator_only(setting, kind):
    _, adversary, batch = setting(**KINDS[kind])
    first, again, other = (attack(adversary, batch, seed)[-1] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("attacked_tasks", "raised"),
    [("main", ["segmentation"]), ("all", ["segmentation", "depth"]), (("depth",), ["depth"])],
)
def test_attack_raises_the_losses_it_is_told_to(setting, attacked_tasks, raised):
    state, adversary, batch = setting(attack="pgd", steps=5, attacked_tasks=attacked_tasks)
    (attacked,) = attack(adversary, batch)
    clean = loss_of(state, batch, batch.images, raised)
    assert (loss_of(state, batch, attacked, raised) > clean).all()


@pytest.mark.parametrize(("share", "num_clean"), [(0.0, 0), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_clean_share_is_the_head_of_the_batch(setting, share, num_clean):
    _, adversary, batch = setting(attack="pgd", steps=2, clean_share=share)
    (images,) = attack(adversary, batch)
    same = (images == batch.images).flatten(1).all(1)
    assert same.tolist() == [True] * num_clean + [False] * (8 - num_clean)


def test_natural_training_sees_the_images_themselves(setting):
    _, adversary, batch = setting(attack="none")
    assert attack(adversary, batch) == (batch.images,)


def test_trades_pairs_clean_images_with_divergent_twins(setting):
    state, adversary, batch = setting(**KINDS["trades"])
    clean, attacked = attack(adversary, batch)
    assert clean is batch.images
    with fixed_network(state.model):
        objective = DivergenceObjective.around(
            state.model, clean, batch.targets["segmentation"], task="segmentation"
        )
        assert (objective(attacked, 1.0).loss > 0).all()
        torch.testing.assert_close(objective(clean, 0.0).loss, torch.zeros(8))


def test_divergence_of_selected_images_is_the_selection(setting, generator):
    state, _, batch = setting(attack="none")
    valid = batch.targets["segmentation"].valid.clone()
    valid[2] = False
    moved = torch.rand(batch.images.shape, generator=generator)
    index = torch.tensor([5, 2])
    with fixed_network(state.model), torch.no_grad():
        objective = DivergenceObjective.around(
            state.model, batch.images, Target(valid, valid), task="segmentation"
        )
        whole = objective(moved, 0.0)
        part = objective.select(index)(moved[index], 0.0)
    torch.testing.assert_close(part.loss, whole.loss[index])
    assert whole.loss[2] == 0
