import itertools

import pytest
import torch

from taskgroup.config import parse
from taskgroup.errors import ConfigError
from taskgroup.training.config import TrainingConfig
from taskgroup.training.schedules import Schedule, one_cycle

NAMES = ("constant", "step", "poly", "cosine", "one_cycle")


def make(name, *, epochs=4, steps=10, warmup=0.0, **options):
    options.setdefault("step_epochs", (2, 3))
    training = TrainingConfig(schedule=name, epochs=epochs, warmup_epochs=warmup, **options)
    return Schedule(training, steps)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("warmup", [0.0, 0.5, 2.0])
def test_factor_lies_in_the_unit_interval_at_every_step(name, warmup):
    schedule = make(name, warmup=warmup)
    factors = [schedule.factor(step) for step in range(schedule.total_steps)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert factors[0] > 0
    assert max(factors) > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_warmup_rises_linearly_from_zero(name):
    schedule = make(name, warmup=1.0)
    factors = [schedule.factor(step) for step in range(10)]
    rises = [after - before for before, after in itertools.pairwise([0.0, *factors])]
    assert rises == pytest.approx([1 / 11] * 10)


@pytest.mark.parametrize("name", ["step", "poly", "cosine"])
def test_decaying_schedules_never_rise(name):
    schedule = make(name)
    factors = [schedule.factor(step) for step in range(schedule.total_steps)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == 1.0


@pytest.mark.parametrize(
    ("name", "step", "expected"),
    [
        ("constant", 39, 1.0),
        ("step", 19, 1.0),
        ("step", 20, 0.1),
        ("step", 39, 0.01),
        ("poly", 20, 0.5**0.9),
        ("cosine", 20, 0.5),
        ("cosine", 10, 0.8535533905932737),
    ],
)
def test_golden_factors(name, step, expected):
    assert make(name).factor(step) == pytest.approx(expected)


@pytest.mark.parametrize("steps", [5, 10, 97])
def test_one_cycle_equals_torch(steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=steps, cycle_momentum=False
    )
    for step in range(steps):
        assert one_cycle(step, steps) == pytest.approx(reference.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        if step < steps - 1:
            reference.step()


def test_learning_rate_is_the_peak_times_the_factor():
    assert make("cosine", learning_rate=0.2).learning_rate(20) == pytest.approx(0.1)


def test_warmup_as_long_as_training_is_refused():
    with pytest.raises(
        ConfigError, match=r"training\.warmup_epochs must be below training\.epochs, which is 2,"
    ):
        parse(TrainingConfig, {"epochs": 2, "warmup_epochs": 2})


def test_step_schedule_without_epochs_is_refused():
    with pytest.raises(ConfigError, match=r"training\.step_epochs must name the epochs"):
        parse(TrainingConfig, {"schedule": "step"})
