"""What holds for every step: one kit over the registry, so that a new one is tested first by it."""

import copy
import sys
from functools import partial

import pytest
import ray.cloudpickle
import torch

from taskgroup.draws import Draws, Share
from taskgroup.errors import ConfigError, DataError
from taskgroup.training.epoch import placeholder
from taskgroup.training.fit import prepare
from taskgroup.training.parallel.group import ALONE, WorkerGroup
from taskgroup.training.steps.base import STEPS, build_step, step_name

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

ASKED_BY = {
    "joint": {"training": {}},
    "trades": {"adversary": {"attack": "pgd", "method": "trades", "norm": "l2", "epsilon": 4.0}},
    "alternating": {"training": {"step": "alternating"}},
    "jacobian": {"training": {"weighting": "upgrad"}},
}
"""What a trial says to take each step; a new step needs a line here."""
SGD = {"optimizer": "sgd", "learning_rate": 0.02, "clip_norm": 1.0, "precision": "float32"}
CPU = torch.device("cpu")
CLOSE = 1e-3
"""Rounding after a batch norm over two images, and how fine the solver behind UPGrad is."""
BATCHES = (5, 2)
"""Images of each batch; of three workers one has none in the second."""
CASES = [(name, frozen) for name in ASKED_BY for frozen in (False, True)]


def configure(trial, name, *, frozen=False, **training):
    asked = ASKED_BY[name]
    adversary = {"attack": "pgd", "norm": "l2", "steps": 2, "epsilon": 0.25}
    return trial(
        dataset=trial().dataset.model_copy(update={"unlabelled": True}),
        auxiliary_tasks=["depth", "classification"],
        model={"frozen": frozen},
        adversary={**adversary, **asked.get("adversary", {})},
        training={**SGD, **asked.get("training", {}), **training},
    )


def steps(config, group=ALONE, batches=BATCHES):
    """A state after some steps on this worker's part of batches, and their reports."""
    state, _ = prepare(config, group=group)
    state.train()
    dataset = config.dataset.open("train", config.task_set)
    draws = Draws.seeded(0, "attack")
    reports = []
    for number, whole in enumerate(batches):
        share = Share(whole, range(group.rank, whole, group.size))
        rows = [number * BATCHES[0] + row for row in share.rows]
        batch = dataset.batch(rows) if rows else placeholder(dataset.batch([0]), CPU)
        reports.append(state.step(batch, draws.of(share)))
    return state, reports


def weights_of(state):
    return {name: value.detach().clone() for name, value in state.model.state_dict().items()}


def test_every_step_is_in_the_kit():
    assert set(ASKED_BY) == set(STEPS)


@pytest.mark.parametrize("name", ASKED_BY)
def test_a_trial_asks_for_it(trial, name):
    assert step_name(configure(trial, name)) == name
    assert type(prepare(configure(trial, name))[0].step) is STEPS[name]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    "way", [{"weighting": "mean"}, {"weighting": "upgrad"}, {"step": "alternating"}]
)
def test_with_one_task_every_step_is_the_joint_one(trial, optimizer, way):
    """Whatever a step does about several tasks, there is nothing to do it about."""
    adversary = {"attack": "none"}
    joint, other = (
        trial(adversary=adversary, training={**SGD, "optimizer": optimizer, **asked})
        for asked in ({}, way)
    )
    assert step_name(other) != step_name(joint) == "joint"
    before = weights_of(prepare(joint)[0])
    expected, found = (weights_of(steps(config)[0]) for config in (joint, other))
    for name, value in expected.items():
        if name.endswith("weight"):  # Adam makes a step of any gradient, rounding included
            moved = (value - before[name]).double().norm()
            assert (found[name] - value).double().norm() < 0.05 * moved, name


@pytest.mark.parametrize("name", ASKED_BY)
def test_a_report_has_sums_and_weights_of_every_task(trial, name):
    _, reports = steps(configure(trial, name))
    for report in reports:
        assert report.sums.shape == (3, 2)
        assert report.weights.shape == (3,)
        for values in report:
            assert values.isfinite().all()
            assert not values.requires_grad
        assert (report.sums[:, 1] > 0).all()


@pytest.mark.parametrize("name", ASKED_BY)
def test_repeated_steps_lower_the_main_loss(trial, name):
    config = configure(trial, name, learning_rate=0.05)
    state, _ = prepare(config)
    state.train()
    batch = config.dataset.open("train", config.task_set).batch(range(8))
    losses = []
    for _ in range(8):
        sums = state.step(batch, Draws.seeded(0, "attack")).sums
        losses.append(float(sums[0, 0] / sums[0, 1]))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ASKED_BY)
def test_a_frozen_part_stays_frozen(trial, name):
    config = configure(trial, name, frozen=True)
    before = weights_of(prepare(config)[0])
    after = weights_of(steps(config)[0])
    frozen = [key for key in before if key.startswith("backbone.")]
    assert frozen
    assert all(torch.equal(before[key], after[key]) for key in frozen)
    assert any(not torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", ASKED_BY)
def test_the_same_step_gives_the_same_bits(trial, name):
    config = configure(trial, name)
    (one, first), (other, second) = steps(config), steps(config)
    assert all(torch.equal(a.sums, b.sums) for a, b in zip(first, second, strict=True))
    theirs = weights_of(other)
    assert all(torch.equal(value, theirs[key]) for key, value in weights_of(one).items())


@pytest.mark.parametrize("name", ASKED_BY)
def test_its_state_is_plain_and_foreign_state_is_refused(trial, name):
    state, _ = steps(configure(trial, name), batches=BATCHES[:1])
    kept = copy.deepcopy(dict(state.step.state_dict()))
    state.step.load_state_dict(kept)
    state.step.load_state_dict({})
    with pytest.raises(DataError, match="the checkpoint has momentum_of_mars"):
        state.step.load_state_dict({"momentum_of_mars": 1})


@pytest.fixture(scope="module")
def by_workers(workers, make):
    """Each step by two workers and by three: reports and weights."""

    def run():
        group = WorkerGroup.current()
        found = {}
        for name, frozen in CASES:
            state, reports = steps(configure(make, name, frozen=frozen), group)
            found[name, frozen] = [tuple(report) for report in reports], weights_of(state)
        return found

    return {size: workers(size, run) for size in (2, 3)}


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(("name", "frozen"), CASES)
def test_several_workers_equal_one(trial, by_workers, size, name, frozen):
    state, reports = steps(configure(trial, name, frozen=frozen))
    expected = weights_of(state)
    for found in by_workers[size]:
        theirs, weights = found[name, frozen]
        for own, other in zip(reports, theirs, strict=True):
            torch.testing.assert_close(tuple(own), other, rtol=CLOSE, atol=CLOSE)
        for key, value in expected.items():
            torch.testing.assert_close(weights[key], value, rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"adversary": {"attack": "pgd"}, "training": {"step": "trades"}},
            "training.step must be 'trades' where adversary.method",
        ),
        (
            {**ASKED_BY["trades"], "training": {"step": "joint"}},
            "training.step must be 'trades' where adversary.method",
        ),
        (
            {**ASKED_BY["trades"], "training": {"weighting": "upgrad"}},
            "adversary.method 'trades' and a training.weighting that combines gradients must not",
        ),
        ({"training": {"step": "jacobian"}}, "must be 'jacobian' where training.weighting"),
        (
            {"training": {"step": "alternating", "weighting": "uncertainty"}},
            "'alternating' sees one loss at a time and goes with weighting 'fixed' only",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_refused(trial, changes, message):
    with pytest.raises(ConfigError, match=message):
        prepare(trial(**changes))


def test_a_natural_trial_of_method_trades_is_joint(trial):
    assert step_name(trial(adversary={"attack": "none", "method": "trades"})) == "joint"


def test_a_natural_baseline_of_a_space_that_names_trades_trains(trial):
    natural = trial(training={"step": "trades"})
    assert step_name(natural) == "joint"
    prepare(natural)


def test_second_derivatives_of_norms_over_gpus_are_refused(trial, monkeypatch):
    config = configure(trial, "joint")
    state, _ = prepare(config)
    network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(state.model)
    monkeypatch.setattr(STEPS["joint"], "is_second_order", True)
    with pytest.raises(ConfigError, match="'joint' differentiates gradients"):
        build_step(config, network, state.tasks, None, state.weighting, state.optimizer)


def opposed():
    """Two workers whose Jacobians are opposite: their sum is zero, their Gramians' sum is not."""
    group = WorkerGroup.current()
    sign = 1.0 if group.is_first else -1.0
    jacobian = sign * torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    group.sum_in_place([jacobian])
    return jacobian


def test_jacobians_are_summed_before_anything_is_computed_from_them(workers):
    for found in workers(2, opposed):
        assert torch.equal(found, torch.zeros(2, 2))


def opposite_gradients(make=None):
    """One jacobian step in which worker 1 has the images and labels that undo worker 0's."""
    group = WorkerGroup.current()
    config = configure(make, "jacobian", clip_norm=None)
    state, _ = prepare(config, group=group)
    before = weights_of(state)
    seen = []
    aggregator = state.weighting.aggregator
    aggregator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    batch = config.dataset.open("train", config.task_set).batch(range(4))
    state.train()
    own = state.step(batch, Draws.seeded(0, "attack").of(Share(8, range(group.rank, 8, 2))))
    return seen[0], before.keys(), own.sums


def test_the_aggregator_sees_one_jacobian_of_all_workers(workers, make):
    """Both workers aggregate the same matrix: the sum, not each its own part."""
    first, second = workers(2, partial(opposite_gradients, make))
    assert torch.equal(first[0], second[0])
    assert first[0].shape[0] == 3
