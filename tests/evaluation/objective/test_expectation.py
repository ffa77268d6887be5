"""Networks that answer at random: attacked along mean gradients, scored by their mean."""

import random
import threading

import numpy as np
import pytest
import torch
from torch import nn

from taskgroup.attacks.base import (
    ATTACKS,
    AttackBudget,
    GradientObjective,
    LogitObjective,
    LossObjective,
    ThreatModel,
)
from taskgroup.attacks.compatibility import NEEDS
from taskgroup.attacks.iterates import evaluate_only, input_gradient
from taskgroup.draws import Draws
from taskgroup.evaluation.loading import fixed_networks
from taskgroup.evaluation.objective.combined import combined_objective
from taskgroup.evaluation.objective.expectation import (
    NUM_DRAWS,
    ExpectedObjective,
    FixedDraw,
    draws_of,
    is_randomised,
)
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.perturbations.base import BatchSeed, NetworkUnderTest
from taskgroup.evaluation.run import plan_networks
from taskgroup.evaluation.scoring import predict, sums_per_image
from taskgroup.evaluation.shards.execute import run_here
from taskgroup.evaluation.shards.shard import plan_shards
from taskgroup.evaluation.verdict.gradient_check import check_gradients

THREAT = ThreatModel(epsilon=8 / 255)
QUICK = EvaluationOptions("quick")


class Dithered(nn.Module):
    """Noise of 0.02 whose phase is random: answers hardly change, gradients are ten times noise."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        phase = 2 * torch.pi * torch.rand_like(images)
        return self.network(images + 0.02 * torch.sin(500 * images + phase), tasks)


class Random(nn.Module):
    """Noise from whichever global generator is asked for."""

    def __init__(self, network, draw):
        super().__init__()
        self.network = network
        self.draw = draw

    def forward(self, images, tasks=None):
        return self.network(images + 0.1 * self.draw(images), tasks)


DRAWS = {
    "torch": torch.randn_like,
    "numpy": lambda x: torch.from_numpy(np.random.standard_normal(x.shape)).float(),
    "python": lambda x: torch.full_like(x, random.gauss(0, 1)),
}


def objective_of(model, tasks, batch, main="segmentation"):
    return TaskObjective(model, tasks, batch.targets, main_task=main, attacked_tasks=(main,))


def seeds(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


@pytest.fixture(params=DRAWS)
def noisy(request, trained):
    """The trained network with noise of one source."""
    return Random(trained, DRAWS[request.param])


def test_a_draw_always_answers_alike_and_leaves_the_generators_alone(noisy, batch):
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first, again, other = (
        predict(FixedDraw(noisy, seed), batch.images, ["segmentation"])["segmentation"]
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]


def test_draws_of_several_threads_do_not_mix(trained, batch):
    model = Dithered(trained)
    alone = [predict(FixedDraw(model, n), batch.images, ["depth"])["depth"] for n in range(4)]
    found = [[] for _ in alone]

    def work(number):
        for _ in range(20):
            drawn = predict(FixedDraw(model, number), batch.images, ["depth"])["depth"]
            found[number].append(torch.equal(drawn, alone[number]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(same) == 20 and all(same) for same in found)


def test_only_networks_that_answer_at_random_are_found(trained, noisy, batch):
    assert is_randomised(noisy, batch.images, "segmentation")
    assert is_randomised(Dithered(trained), batch.images, "segmentation")
    assert not is_randomised(trained, batch.images, "segmentation")


@pytest.mark.parametrize("main", ["segmentation", "depth", "classification"])
def test_gradient_and_evaluation_are_means_over_draws(main, trained, tasks, batch):
    model = Dithered(trained)
    objective = ExpectedObjective(objective_of(model, tasks, batch, main), seeds(5))
    gradient, evaluation = input_gradient(objective, batch.images, 0.0)
    drawn = [objective_of(one, tasks, batch, main) for one in draws_of(model, seeds(5))]
    pairs = [input_gradient(one, batch.images, 0.0) for one in drawn]
    assert len(pairs) == NUM_DRAWS
    torch.testing.assert_close(gradient, torch.stack([g for g, _ in pairs]).mean(0))
    for place, values in enumerate(evaluation):
        torch.testing.assert_close(values, torch.stack([e[place] for _, e in pairs]).mean(0))
    same = ExpectedObjective(objective_of(model, tasks, batch, main), seeds(5))
    for ours, theirs in zip(
        evaluate_only(same, batch.images, 0.0),
        evaluation,
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_other_draws_are_taken_in_every_evaluation(trained, tasks, batch):
    objective = ExpectedObjective(objective_of(Dithered(trained), tasks, batch), seeds())
    first, second = (input_gradient(objective, batch.images, 0.0)[0] for _ in range(2))
    assert not torch.equal(first, second)


def test_it_offers_attacks_what_a_task_objective_does(trained, tasks, batch):
    objective = ExpectedObjective(
        objective_of(Dithered(trained), tasks, batch, "classification"), seeds()
    )
    assert isinstance(objective, GradientObjective)
    assert isinstance(objective, LossObjective)
    assert isinstance(objective, LogitObjective)
    single = objective.objective
    assert objective.predicts == single.predicts == "class"
    assert objective.scores == single.scores
    assert torch.equal(objective.labels, single.labels)
    assert torch.equal(objective.select(torch.tensor([1, 2])).labels, single.labels[1:3])
    drawn = draws_of(objective.objective.model, seeds(2))
    names = ["classification"]
    logits = torch.stack([predict(m, batch.images, names)["classification"] for m in drawn])
    objective = ExpectedObjective(single, seeds(2))
    torch.testing.assert_close(objective.logits(batch.images), logits.mean(0))
    gaps = logits.topk(2, 2).values
    objective = ExpectedObjective(single, seeds(2))
    found = objective.with_loss("margin").logit_gap(batch.images)
    torch.testing.assert_close(found, (gaps[..., 0] - gaps[..., 1]).mean(0))


@pytest.mark.parametrize("combine", ["sum", "relative", "unit_gradient", "loss_ratio"])
def test_several_tasks_are_averaged_before_they_are_combined(combine, trained, tasks, batch):
    both = ("segmentation", "depth")
    gradients = []
    for _ in range(2):
        objective = combined_objective(
            Dithered(trained),
            tasks,
            batch.targets,
            batch.images,
            attacked_tasks=both,
            combine=combine,
            randomness=seeds(1),
        )
        gradients.append(input_gradient(objective, batch.images, 0.0)[0])
    assert torch.equal(*gradients)
    exact = combined_objective(
        trained, tasks, batch.targets, batch.images, attacked_tasks=both, combine=combine
    )
    expected = input_gradient(exact, batch.images, 0.0)[0].flatten(1)
    cosine = torch.cosine_similarity(gradients[0].flatten(1), expected, dim=1)
    assert (cosine > 0.3).all()


def test_an_attack_of_a_randomised_network_reproduces(trained, tasks, batch):
    budget = AttackBudget(epsilon=8 / 255, steps=3)
    attack = NetworkAttack("tempered", budget, ("segmentation",))
    network = NetworkUnderTest(Dithered(trained), tasks, is_randomised=True)
    first, again, other = (attack.apply(network, batch, BatchSeed(seed, 0)) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


MAIN = {"class_map": "segmentation", "class": "classification", "numbers": "depth"}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_every_attack_takes_a_randomised_network(name, trained, tasks, batch):
    main = MAIN[NEEDS.get(name, "class_map")]
    attack = NetworkAttack(name, AttackBudget(epsilon=8 / 255, steps=2), (main,))
    network = NetworkUnderTest(Dithered(trained), tasks, is_randomised=True)
    few, before = batch.select(torch.arange(2)), torch.get_rng_state()
    for images in attack.apply(network, few, BatchSeed(0, 0)).values():
        assert images.shape == few.images.shape
        assert (images - few.images).abs().max() <= 8 / 255 + 1e-6
        assert not images.requires_grad
    assert torch.equal(torch.get_rng_state(), before)


def percent(task, sums):
    """mIoU of sums ``(N, S)``."""
    return 100 * task.metric().score(sums.sum(0))["miou"].item()


def left_by_the_suite(loaded):
    """What the worse member of the main attack leaves."""
    plans = plan_networks(loaded, QUICK)
    shards = [s for s in plan_shards(plans) if s.condition.name == "tempered"]
    task, ((_, result),) = loaded.networks[0].main, run_here(loaded, shards)
    return min(percent(task, part.sums[task.name]) for part in result.parts)


def left_by_single_draws(loaded, batch):
    """The same where an attack sees one answer of a randomised network after the other."""
    (plan,), task = plan_networks(loaded, QUICK), loaded.networks[0].main
    (strong,) = [c for c in plan.conditions if c.role == "strong"]
    torch.manual_seed(0)
    network, metrics = loaded.networks[0].under_test(loaded.device), {task.name: task.metric()}
    left = []
    for images in strong.perturbation.apply(network, batch, BatchSeed(0, 0)).values():
        predictions = [predict(m, images, list(metrics)) for m in draws_of(network.model, seeds())]
        sums = [sums_per_image(metrics, one, batch.targets)[task.name] for one in predictions]
        left.append(percent(task, torch.stack(sums).mean(0)))
    return min(left)


@pytest.fixture
def few(make_images):
    return make_images(4, seed=1000)


def test_noise_that_hides_the_gradient_hides_it_no_more(trained, tasks, make_loaded, few):
    """The network itself and one that adds noise, attacked along one draw and along twenty."""
    plain, noisy = (
        make_loaded([model], few, threat=THREAT, task_set=("segmentation",))
        for model in (trained.eval(), Dithered(trained).eval())
    )
    assert plan_networks(noisy, QUICK)[0].randomised == (0,)
    with fixed_networks(noisy):
        hidden = left_by_single_draws(noisy, few)
    honest = left_by_the_suite(plain)
    assert hidden > honest + 12
    assert left_by_the_suite(noisy) < honest + 6
    checked = check_gradients(
        Dithered(trained), tasks, few, main_task="segmentation", threat=THREAT, at_once=4
    )
    assert checked.is_failed, "a ripple in every draw: the score stays a bound"


def test_scores_are_means_over_the_same_draws_and_reproduce(trained, make_loaded, few):
    loaded = make_loaded([Dithered(trained)], few, threat=THREAT)
    (plan,) = plan_networks(loaded, QUICK)
    shards = [s for s in plan_shards([plan]) if s.condition.name == "clean"]
    (first,), (again,) = ([found for _, found in run_here(loaded, shards)] for _ in range(2))
    drawn = draws_of(Dithered(trained), Draws.seeded(0, "randomised score", 0))
    metrics = {task.name: task.metric() for task in loaded.networks[0].tasks}
    names = list(metrics)
    sums = [sums_per_image(metrics, predict(m, few.images, names), few.targets) for m in drawn]
    for task in names:
        assert torch.equal(first.parts[0].sums[task], again.parts[0].sums[task])
        expected = torch.stack([one[task] for one in sums]).mean(0)
        torch.testing.assert_close(first.parts[0].sums[task], expected)


class Counting(nn.Module):
    """Counts the images that pass."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.passed = 0

    def forward(self, images, tasks=None):
        self.passed += len(images)
        return self.network(images, tasks)


def test_other_networks_are_not_passed_more_often(trained, make_loaded, few):
    counting = Counting(trained)
    loaded = make_loaded([counting], few, task_set=("segmentation",))
    (plan,) = plan_networks(loaded, QUICK)
    assert plan.randomised == ()
    assert counting.passed == 2 * len(few)
    counting.passed = 0
    shards = [s for s in plan_shards([plan]) if s.condition.name in ("clean", "fgsm")]
    list(run_here(loaded, shards))
    assert counting.passed == (1 + 4) * len(few)
