import pytest
import torch
from torch import nn

from taskgroup.training.config import TrainingConfig
from taskgroup.training.optimizers import build_optimizer, parameter_groups, set_learning_rate


def network():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    net[3].weight.requires_grad_(False)
    return net


def test_norms_and_biases_are_exempt_from_decay():
    net = network()
    decayed, exempt = parameter_groups(net, 0.1)
    assert decayed["weight_decay"] == 0.1
    assert exempt["weight_decay"] == 0.0
    assert [p.shape for p in decayed["params"]] == [net[0].weight.shape]
    assert len(exempt["params"]) == 4


def test_untrainable_parameters_are_left_out():
    net = network()
    chosen = [id(p) for group in parameter_groups(net, 0.1) for p in group["params"]]
    assert id(net[3].weight) not in chosen
    assert len(chosen) == len(set(chosen)) == 5


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_one_step_equals_the_formula(name):
    net = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, -2.0]]))
    training = TrainingConfig(optimizer=name, learning_rate=0.1, weight_decay=0.5)
    optimizer = build_optimizer(net, training)
    net.weight.grad = torch.tensor([[0.3, 0.4]])
    optimizer.step()
    expected = {
        "sgd": [[1 - 0.1 * (0.3 + 0.5), -2 - 0.1 * (0.4 - 1.0)]],
        "adamw": [[1 * (1 - 0.05) - 0.1, -2 * (1 - 0.05) - 0.1]],
    }
    torch.testing.assert_close(net.weight.detach(), torch.tensor(expected[name]))


def test_learning_rate_is_set_in_every_group():
    optimizer = build_optimizer(network(), TrainingConfig())
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
