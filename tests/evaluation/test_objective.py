"""What an attack sees of a network."""

import pytest
import torch

from taskgroup.errors import ConfigError
from taskgroup.evaluation.network import fixed_network
from taskgroup.evaluation.objective import TaskObjective, resolve_attacked
from taskgroup.tasks.base import Target


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


def test_resolve_attacked():
    task_set = ("segmentation", "depth")
    assert resolve_attacked("main", "segmentation", task_set) == ("segmentation",)
    assert resolve_attacked("all", "segmentation", task_set) == task_set
    assert resolve_attacked(("depth",), "segmentation", task_set) == ("depth",)
    with pytest.raises(ConfigError, match=r"attacked_tasks must lie in the task set, got 'edges'"):
        resolve_attacked(("edges",), "segmentation", task_set)
    with pytest.raises(ConfigError, match="at least one task"):
        resolve_attacked((), "segmentation", task_set)


def test_a_held_network_gets_everything_back(network):
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
