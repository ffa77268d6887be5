"""Gradients of sampled outputs and of tasks against a naive loop; attacks on sampled outputs."""

from itertools import accumulate, pairwise

import numpy as np
import pytest
import torch

from taskgroup.attacks.base import AttackBudget
from taskgroup.data.base import Batch
from taskgroup.evaluation.dimension.attacks import (
    attack_pixels,
    attack_tasks,
    pixel_score,
    task_subsets,
)
from taskgroup.evaluation.dimension.pixel_gradients import joint_gradients, pixel_gradients
from taskgroup.evaluation.dimension.sampling import plan_walks, random_ranks
from taskgroup.evaluation.dimension.task_gradients import task_gram
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.scoring import predict
from taskgroup.tasks.base import Target, TaskInfo, build_task

OUTPUTS = (1, 2, 3, 16, 100)
BUDGET = AttackBudget(epsilon=8 / 255, steps=4)


@pytest.fixture
def subject(trained, tasks, make_loaded, make_images):
    """The trained network, fixed, and five images: two of them with few valid pixels."""
    batch = make_images(5, seed=7, first=20)
    target = batch.targets["segmentation"]
    target.values[3] = 1
    target.valid[3] = False
    target.valid[3, 2, 2:9] = True
    target.valid[4] = False
    target.values[~target.valid] = 255
    with fixed_network(trained):
        yield make_loaded([trained], batch).networks[0], batch


def named(trained, name):
    return next(task for task in trained.tasks if task.name == name)


def clean_of(trained, task, batch):
    return predict(trained.model, batch.images, [task.name])[task.name]


def naive_norm(trained, task, batch, image, mask):
    """Length of the gradient of the mean loss over some pixels of one image."""
    images = batch.images[image : image + 1].clone().requires_grad_()
    target = batch.targets[task.name]
    prediction = trained.model(images, [task.name])[task.name]
    masked = Target(target.values[image : image + 1], mask.unsqueeze(0))
    loss = task.loss(prediction, masked)
    (gradient,) = torch.autograd.grad(loss.mean(), images)
    return float(gradient.norm())


def naive_sums(trained, task, batch, *, repeats):
    """The same numbers by one forward and one backward pass per image, number and sample."""
    valid = batch.targets[task.name].valid
    norms = torch.zeros(len(batch), len(OUTPUTS), dtype=torch.float64)
    samples = norms.clone()
    for image in range(len(batch)):
        for number, walk in enumerate(plan_walks(OUTPUTS, repeats, int(valid[image].sum()))):
            ranks = random_ranks(valid, batch.index, seed=3, repeat=number)[image]
            ends = (0, *accumulate(walk.parts))
            parts = [(ranks >= first) & (ranks < stop) for first, stop in pairwise(ends)]
            for union, place in zip(walk.unions, walk.place, strict=True):
                mask = torch.stack(parts)[union].any(0)
                assert mask.sum() == OUTPUTS[place]
                norms[image, place] += naive_norm(trained, task, batch, image, mask)
                samples[image, place] += 1
    return norms, samples


@pytest.mark.parametrize("name", ["segmentation", "depth"])
def test_norms_equal_a_naive_loop(subject, name):
    trained, batch = subject
    task = named(trained, name)
    found = pixel_gradients(trained, task, batch, outputs=OUTPUTS, repeats=2, seed=3)
    norms, samples = naive_sums(trained, task, batch, repeats=2)
    assert found.samples.equal(samples)
    torch.testing.assert_close(found.norms, norms, rtol=2e-4, atol=1e-6)
    assert (samples[:2] == 2).all()
    if name == "segmentation":
        assert (samples[3] > 0).tolist() == [True, True, True, False, False]  # seven valid pixels
        assert samples[4].sum() == 0


def test_squares_are_those_of_the_norms(subject):
    trained, batch = subject
    task = named(trained, "segmentation")
    found = pixel_gradients(trained, task, batch, outputs=OUTPUTS, repeats=1, seed=3)
    torch.testing.assert_close(found.squares, found.norms.square())


def test_an_image_counts_alike_in_every_batch(subject):
    trained, batch = subject
    task = named(trained, "segmentation")
    whole = pixel_gradients(trained, task, batch, outputs=OUTPUTS, repeats=2, seed=0)
    alone = batch.select(torch.tensor([2]))
    part = pixel_gradients(trained, task, alone, outputs=OUTPUTS, repeats=2, seed=0)
    torch.testing.assert_close(whole.norms[2:3], part.norms, rtol=1e-4, atol=1e-6)


def test_weights_that_follow_from_the_target_stay_those_of_the_whole_image(subject):
    """The class balance of a binary map is that of the image, not that of the sampled pixels."""
    trained, batch = subject
    task = build_task(TaskInfo("saliency"))
    values = (batch.images.mean(1, keepdim=True) > 0.6).float()
    valid = torch.ones_like(values[:, 0], dtype=torch.bool)
    targets = {"saliency": Target(values, valid)}
    network = torch.nn.Conv2d(3, 1, 3, padding=1)
    trained = type(trained)(
        lambda images, names: {"saliency": network(images)},
        (task,), trained.dataset, "saliency", trained.threat,
    )  # fmt: skip
    whole = Batch(batch.images, targets, batch.index)
    found = pixel_gradients(trained, task, whole, outputs=(256,), repeats=1, seed=0)
    for image in range(len(batch)):
        expected = naive_norm(trained, task, whole, image, valid[image])
        assert float(found.norms[image, 0]) == pytest.approx(expected, rel=1e-4)


def test_the_published_number_joins_pairs_of_images(subject):
    trained, batch = subject
    task = named(trained, "segmentation")
    found = joint_gradients(trained, task, batch, outputs=OUTPUTS, repeats=1, seed=3)
    assert found.norms.shape == (3, len(OUTPUTS))
    assert (found.samples == 1).all()
    every = torch.ones(2, 16, 16, dtype=torch.bool)
    ranks = random_ranks(every, batch.index[:1].expand(2), seed=3, repeat=0)
    assert ranks[0].equal(ranks[1])
    for place, count in enumerate(OUTPUTS):
        images = batch.images[:2].clone().requires_grad_()
        target = batch.targets[task.name]
        prediction = trained.model(images, [task.name])[task.name]
        chosen = Target(target.values[:2], target.valid[:2] & (ranks < count))
        (gradient,) = torch.autograd.grad(task.loss(prediction, chosen).loss_sum.sum(), images)
        assert float(found.norms[0, place]) == pytest.approx(float(gradient.norm()) / count, 1e-4)


def test_task_gradients_are_those_of_mean_losses(subject):
    trained, batch = subject
    gram = task_gram(trained, batch)
    gradients = []
    for name in trained.task_set:
        images = batch.images.clone().requires_grad_()
        sums = named(trained, name).loss(trained.model(images, [name])[name], batch.targets[name])
        loss = (sums.loss_sum / sums.valid_count.clamp(min=1)).sum()
        gradients.append(torch.autograd.grad(loss, images)[0].flatten(1))
    stacked = torch.stack(gradients, 1)
    assert gram == pytest.approx((stacked @ stacked.mT).numpy(), rel=1e-4, abs=1e-9)
    assert gram[4, 0].tolist() == [0, 0, 0]  # nothing labelled in the last image
    assert gram[4, 1, 1] > 0


@pytest.mark.parametrize("outputs", [1, 10, 200])
def test_only_attacked_outputs_are_scored(subject, outputs):
    trained, batch = subject
    task = named(trained, "segmentation")
    sums = attack_pixels(
        trained, task, batch, clean_of(trained, task, batch), outputs=outputs, attack="pgd",
        budget=BUDGET, seed=0, repeat=0,
    )  # fmt: skip
    has_enough = batch.targets["segmentation"].valid.flatten(1).sum(1) >= outputs
    counted = sums.attacked[:, 3:6].sum(1)  # target pixels by class
    assert counted.tolist() == (outputs * has_enough).tolist()
    assert counted.tolist() == sums.clean[:, 3:6].sum(1).tolist()
    assert sums.attacked[:, :3].sum() < sums.clean[:, :3].sum() or outputs == 1


def test_fewer_outputs_are_easier_to_fool(subject):
    trained, batch = subject
    task = named(trained, "segmentation")
    chosen = batch.select(torch.arange(3))
    right = {}
    for outputs in (2, 200):
        parts = [
            attack_pixels(
                trained, task, chosen, clean_of(trained, task, chosen), outputs=outputs,
                attack="pgd", budget=BUDGET, seed=0, repeat=repeat,
            )
            for repeat in range(20 if outputs == 2 else 1)
        ]  # fmt: skip
        correct = sum(float(part.attacked[:, :3].sum()) for part in parts)
        right[outputs] = correct / sum(float(part.attacked[:, 3:6].sum()) for part in parts)
    assert right[2] < right[200]


def test_attacks_repeat_and_radius_zero_is_clean(subject):
    trained, batch = subject
    task = named(trained, "segmentation")

    def run(repeat, budget=BUDGET):
        return attack_pixels(
            trained, task, batch, clean_of(trained, task, batch), outputs=6, attack="pgd",
            budget=budget, seed=0, repeat=repeat,
        )  # fmt: skip

    assert run(0).attacked.equal(run(0).attacked)
    assert not run(0).clean.equal(run(1).clean)
    nothing = run(0, AttackBudget(epsilon=0.0, steps=1))
    assert nothing.attacked.equal(nothing.clean)


@pytest.mark.parametrize("combine", ["sum", "unit_gradient"])
def test_attacks_on_tasks_score_the_task_alone(subject, combine):
    trained, batch = subject
    task = named(trained, "depth")
    sums = attack_tasks(
        trained, task, batch, clean_of(trained, task, batch),
        attacked_tasks=("depth", "segmentation"), combine=combine, attack="pgd",
        budget=BUDGET, seed=0,
    )  # fmt: skip
    assert sums.clean.shape == (5, task.metric().size)
    clean, attacked = sums.clean[:, 3], sums.attacked[:, 3]  # absolute error, the attacked loss
    assert attacked.sum() > 1.05 * clean.sum()
    assert attacked[4] > 1.3 * clean[4], "this image has labels of depth alone"


def test_task_subsets_hold_the_task_and_differ():
    tasks = ("a", "b", "c", "d", "e")
    assert task_subsets(tasks, "c", 1, most=3, seed=0) == [("c",)]
    assert task_subsets(tasks, "c", 5, most=3, seed=0) == [("c", "a", "b", "d", "e")]
    drawn = task_subsets(tasks, "c", 3, most=4, seed=0)
    assert len(set(drawn)) == 4
    assert all(names[0] == "c" and len(set(names)) == 3 for names in drawn)
    assert len(task_subsets(tasks, "c", 3, most=99, seed=0)) == 6


def test_the_score_of_some_outputs_is_a_mean(subject):
    trained, _ = subject
    assert pixel_score(named(trained, "segmentation")) == "accuracy"
    assert pixel_score(named(trained, "depth")) == "abs_rel"


def test_the_law_describes_a_real_network(subject):
    """Mean squares over many samples follow from those at M = 1 and at all pixels."""
    trained, batch = subject
    task = named(trained, "depth")
    chosen = batch.select(torch.arange(3))
    found = pixel_gradients(trained, task, chosen, outputs=(1, 8, 256), repeats=200, seed=0)
    squares = (found.squares / found.samples).numpy()
    one, some, every = squares.mean(0)
    correlation = (every / one * 256 - 1) / 255
    assert some == pytest.approx(one * (1 + 7 * correlation) / 8, rel=0.1)
    assert np.all(np.diff(squares.mean(0)) < 0)
