"""What an attack sees of a network."""

from dataclasses import replace

import pytest
import torch

from taskgroup.attacks.base import ThreatModel
from taskgroup.attacks.losses.base import LOSSES, Setting
from taskgroup.attacks.phases import climb_phases
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.objective.task_objective import (
    TaskObjective,
    inverse_shares,
    resolve_attacked,
)
from taskgroup.tasks.base import Target, build_task


def objective(network, tasks, batch, *attacked, main="segmentation", **options):
    return TaskObjective(
        network, tasks, batch.targets, main_task=main, attacked_tasks=attacked, **options
    )


def test_the_loss_is_the_sum_over_pixels_over_all_pixels(trained, tasks, batch):
    seen = objective(trained, tasks, batch, "segmentation", "classification")(batch.images, 0)
    predictions = trained(batch.images)
    expected = []
    for image in range(len(batch.images)):
        target = batch.targets["segmentation"]
        log_shares = predictions["segmentation"][image].log_softmax(0)
        pixels = [
            -log_shares[target.values[image, row, column], row, column]
            for row in range(16)
            for column in range(16)
            if target.valid[image, row, column]
        ]
        label = batch.targets["classification"].values[image]
        vector = -predictions["classification"][image].log_softmax(0)[label]
        expected.append(torch.stack(pixels).sum() / 256 + vector)
    torch.testing.assert_close(seen.loss, torch.stack(expected))
    assert seen.loss.shape == seen.tracked.shape == seen.score.shape == (8,)
    assert not seen.tracked.requires_grad
    assert not seen.score.requires_grad


def test_the_score_is_each_images_own(trained, tasks, batch):
    seen = objective(trained, tasks, batch, "depth")(batch.images, 0)
    metric = tasks[0].metric()
    prediction = trained(batch.images)["segmentation"]
    target = batch.targets["segmentation"]
    for image in range(8):
        alone = metric.score(
            metric.per_image(
                prediction[image : image + 1],
                target.values[image : image + 1],
                target.valid[image : image + 1],
            )[0]
        )
        assert seen.score[image] == pytest.approx(float(alone["miou"]))


@pytest.mark.parametrize(
    ("attacked", "main", "heads"),
    [
        (("depth",), "segmentation", {"depth", "segmentation"}),
        (("depth",), None, {"depth"}),
        (("segmentation",), "segmentation", {"segmentation"}),
    ],
)
def test_only_needed_heads_run(attacked, main, heads, network, tasks, batch):
    evaluation = objective(network, tasks, batch, *attacked, main=main)(batch.images, 0)
    assert set(network.ran) == heads
    assert evaluation.score.isnan().all() == (main is None)


def test_select_sees_some_of_the_images(trained, tasks, batch):
    whole = objective(trained, tasks, batch, "segmentation", "depth")
    seen = whole(batch.images, 0)
    for index in (torch.tensor([5, 2]), torch.arange(8) % 3 == 0):
        part = whole.select(index)(batch.images[index], 0)
        for all_of_them, some in zip(seen, part, strict=True):
            torch.testing.assert_close(all_of_them[index], some)


def test_an_image_without_labels_counts_zero(trained, tasks, batch):
    target = batch.targets["segmentation"]
    none = Target(target.values, torch.zeros_like(target.valid))
    blind = TaskObjective(
        trained, tasks, {"segmentation": none}, main_task=None, attacked_tasks=("segmentation",)
    )
    assert blind(batch.images, 0).loss.eq(0).all()


def test_autocast_keeps_float32_losses_near(trained, tasks, batch):
    exact = objective(trained, tasks, batch, "segmentation", "depth")(batch.images, 0)
    rough = objective(trained, tasks, batch, "segmentation", "depth", autocast=torch.bfloat16)
    seen = rough(batch.images, 0)
    assert seen.loss.dtype == torch.float32
    torch.testing.assert_close(seen.loss, exact.loss, rtol=0.05, atol=0.02)
    assert not torch.equal(seen.loss, exact.loss)


@pytest.mark.parametrize(("name", "own"), [("segmentation", "cross_entropy"), ("depth", "l1")])
def test_the_own_loss_by_name_changes_nothing(name, own, trained, tasks, batch):
    plain = objective(trained, tasks, batch, name, "classification", main=name)(batch.images, 0)
    named = objective(trained, tasks, batch, name, "classification", main=name, loss=own)
    for first, second in zip(plain, named(batch.images, 0), strict=True):
        torch.testing.assert_close(first, second)


def test_an_attack_loss_is_raised_and_the_own_loss_tracked(trained, tasks, batch):
    plain = objective(trained, tasks, batch, "segmentation", "depth")(batch.images, 0)
    masked = objective(trained, tasks, batch, "segmentation", "depth", loss="masked_cross_entropy")
    seen = masked(batch.images, 0)
    assert torch.equal(seen.tracked, plain.tracked)
    assert (seen.loss < plain.loss).all()
    depth = objective(trained, tasks, batch, "depth")(batch.images, 0).loss
    alone = objective(trained, tasks, batch, "segmentation", loss="masked_cross_entropy")
    torch.testing.assert_close(seen.loss, alone(batch.images, 0).loss + depth)
    part = masked.select(torch.tensor([3]))(batch.images[3:4], 0)
    torch.testing.assert_close(part.loss, seen.loss[3:4])


def test_a_schedule_follows_the_progress(trained, tasks, batch):
    scheduled = objective(trained, tasks, batch, "segmentation", loss="segpgd")
    masked = objective(trained, tasks, batch, "segmentation", loss="masked_cross_entropy")
    start, end = (scheduled(batch.images, progress) for progress in (0.0, 1.0))
    torch.testing.assert_close(start.loss, masked(batch.images, 0).loss)
    torch.testing.assert_close(end.loss, end.tracked / 2)


def test_balanced_losses_weigh_classes_by_their_rarity(trained, tasks, batch):
    shares = (0.5, 0.25, 0.25)
    info = replace(tasks[0].info, class_shares=shares)
    balanced = objective(
        trained,
        [build_task(info), *tasks[1:]],
        batch,
        "segmentation",
        loss="balanced_cross_entropy",
    )
    target = batch.targets["segmentation"]
    expected = LOSSES["balanced_cross_entropy"](
        trained(batch.images)["segmentation"],
        target.values,
        target.valid,
        Setting(class_weights=(0.2, 0.4, 0.4)),
    )
    torch.testing.assert_close(balanced(batch.images, 0).loss, expected)
    silent = build_task(replace(info, class_shares=()))
    unknown = objective(
        trained, [silent, *tasks[1:]], batch, "segmentation", loss="balanced_cross_entropy"
    )
    alike = LOSSES["balanced_cross_entropy"](
        trained(batch.images)["segmentation"],
        target.values,
        target.valid,
        Setting(class_weights=(1 / 3, 1 / 3, 1 / 3)),
    )
    torch.testing.assert_close(unknown(batch.images, 0).loss, alike)


def test_a_class_without_pixels_weighs_as_much_as_the_rarest():
    assert inverse_shares((0.75, 0.25, 0.0)) == pytest.approx((1 / 7, 3 / 7, 3 / 7))
    assert inverse_shares(()) == ()


def test_an_attack_loss_needs_a_main_task_that_is_attacked(trained, tasks, batch):
    with pytest.raises(ConfigError, match="'margin' is one of the main task, which must be"):
        objective(trained, tasks, batch, "depth", loss="margin")
    with pytest.raises(ConfigError, match="unknown attack loss 'margins'; did you mean 'margin'"):
        objective(trained, tasks, batch, "segmentation", loss="margins")


def test_apgd_raises_an_attack_loss_of_a_network(trained, tasks, batch):
    attacked = objective(trained, tasks, batch, "segmentation", loss="masked_cross_entropy")
    with fixed_network(trained):
        end = climb_phases(
            attacked,
            batch.images,
            threat=ThreatModel(epsilon=8 / 255),
            steps=12,
            draws=Draws(torch.Generator().manual_seed(0)),
            stop_at=0.0,
        )
        before, after = (attacked(images, 0) for images in (batch.images, end.lowest))
    assert after.score.mean() < before.score.mean()
    torch.testing.assert_close(after.score, end.score)


def test_resolve_attacked():
    task_set = ("segmentation", "depth")
    assert resolve_attacked("main", "segmentation", task_set) == ("segmentation",)
    assert resolve_attacked("all", "segmentation", task_set) == task_set
    assert resolve_attacked(("depth",), "segmentation", task_set) == ("depth",)
    with pytest.raises(ConfigError, match=r"attacked_tasks must lie in the task set, got 'edges'"):
        resolve_attacked(("edges",), "segmentation", task_set)
    with pytest.raises(ConfigError, match="at least one task"):
        resolve_attacked((), "segmentation", task_set)


def test_a_fixed_network_gets_everything_back(network):
    network.features[1].eval()
    network.heads["depth"].weight.requires_grad_(False)
    modes = [module.training for module in network.modules()]
    flags = [parameter.requires_grad for parameter in network.parameters()]
    with fixed_network(network):
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == flags
    with pytest.raises(RuntimeError, match="inside"), fixed_network(network):
        raise RuntimeError("inside")
    assert [module.training for module in network.modules()] == modes
