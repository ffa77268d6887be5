"""Several tasks raised at once: the sum of logarithms in one pass."""

import pytest
import torch

from taskgroup.attacks.apgd import climb
from taskgroup.attacks.base import ThreatModel
from taskgroup.attacks.iterates import input_gradient
from taskgroup.evaluation.objective.combined import combined_objective
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.tasks.base import Target

BOTH = ("segmentation", "depth")


def relative(network, tasks, batch, names=BOTH, combine="relative"):
    return combined_objective(
        network, tasks, batch.targets, batch.images, attacked_tasks=names, combine=combine
    )


def alone(network, tasks, batch, name):
    return TaskObjective(network, tasks, batch.targets, main_task=None, attacked_tasks=(name,))


def test_each_gradient_is_divided_by_its_loss(trained, tasks, batch):
    with fixed_network(trained):
        whole, found = input_gradient(relative(trained, tasks, batch), batch.images, 0.0)
        expected, logs = torch.zeros_like(whole), torch.zeros(len(batch.images))
        for name in BOTH:
            gradient, one = input_gradient(alone(trained, tasks, batch, name), batch.images, 0.0)
            expected += gradient / one.loss[:, None, None, None]
            logs += one.loss.log()
    torch.testing.assert_close(whole, expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(found.loss, logs)
    assert torch.equal(found.tracked, found.loss)


def test_it_takes_one_pass_for_all_tasks(network, tasks, batch):
    input_gradient(relative(network, tasks, batch), batch.images, 0.0)
    assert sorted(network.ran) == sorted(BOTH)


def test_the_unit_of_a_task_drops_out(trained, tasks, batch):
    depth = batch.targets["depth"]

    class InFeet(torch.nn.Module):
        def forward(self, images, names):
            found = trained(images, names)
            return {name: 3 * value if name == "depth" else value for name, value in found.items()}

    feet = {**batch.targets, "depth": Target(3 * depth.values, depth.valid)}
    with fixed_network(trained):
        metres, _ = input_gradient(relative(trained, tasks, batch), batch.images, 0.0)
        scaled = combined_objective(
            InFeet(), tasks, feet, batch.images, attacked_tasks=BOTH, combine="relative"
        )
        again, _ = input_gradient(scaled, batch.images, 0.0)
    torch.testing.assert_close(again, metres, atol=1e-6, rtol=1e-4)


def test_a_task_without_a_label_has_no_say(trained, tasks, batch):
    depth = batch.targets["depth"]
    seen = depth.valid.clone()
    seen[3] = False
    targets = {**batch.targets, "depth": Target(depth.values, seen)}
    with fixed_network(trained):
        blind = combined_objective(
            trained, tasks, targets, batch.images, attacked_tasks=BOTH, combine="relative"
        )
        whole, found = input_gradient(blind, batch.images, 0.0)
        single, one = input_gradient(relative(trained, tasks, batch, BOTH[:1]), batch.images, 0.0)
    torch.testing.assert_close(whole[3], single[3])
    torch.testing.assert_close(found.loss[3], one.loss[3])


def test_the_losses_grow_by_a_larger_factor_than_under_their_sum(trained, tasks, batch):
    growth = {}
    with fixed_network(trained):
        for way in ("sum", "relative"):
            raised = relative(trained, tasks, batch, combine=way)
            end = climb(
                raised, batch.images, batch.images, threat=ThreatModel(epsilon=8 / 255), steps=10
            )
            ratios = [
                objective(end.best, 1.0).loss / objective(batch.images, 0.0).loss
                for objective in (alone(trained, tasks, batch, name) for name in BOTH)
            ]
            growth[way] = torch.stack(ratios).log().sum(0).mean()
    assert growth["relative"] > growth["sum"] > 0


@pytest.mark.parametrize("combine", ["sum", "relative"])
def test_a_part_of_the_images_is_joined_alike(combine, trained, tasks, batch):
    whole = relative(trained, tasks, batch, combine=combine)
    index = torch.tensor([5, 1])
    with fixed_network(trained):
        part = whole.select(index)(batch.images[index], 0.0)
        torch.testing.assert_close(part.loss, whole(batch.images, 0.0).loss[index])
