"""Networks that only look robust are found out, honest ones are not."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import network_results, plan_networks
from taskgroup.evaluation.shards.execute import run_here
from taskgroup.evaluation.shards.shard import plan_shards
from taskgroup.evaluation.subjects import Subject
from taskgroup.evaluation.verdict.network_result import network_result
from taskgroup.evaluation.verdict.ordering import check_order
from taskgroup.evaluation.verdict.outcomes import finished, gather_outcomes, gather_transfers
from taskgroup.evaluation.verdict.rows import RowMaker
from taskgroup.evaluation.verdict.sanity import check_network, verdict

main_tasks = pytest.mark.parametrize("main_task", ["segmentation", "depth", "classification"])


class Scaled(nn.Module):
    """Logits times 10 000: the same answers, and losses that saturate in float32."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        predictions = self.network(images, tasks)
        return {name: 1e4 * prediction for name, prediction in predictions.items()}


class StaysInTraining(nn.Module):
    """Norms use the statistics of the batch, whatever mode is asked for."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        self.network.features[1].train()
        return self.network(images, tasks)


class Dropping(nn.Module):
    """Dropout stays on."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        self.network.features[3].train()
        return self.network(images, tasks)


class Noisy(nn.Module):
    """A randomised defence: noise is added to every image before it is looked at."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        return self.network(images + 0.05 * torch.randn_like(images), tasks)


class Rounding(nn.Module):
    """Images are rounded first: nothing to follow."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        return self.network((images * 16).round() / 16, tasks)


class Broken(nn.Module):
    """Answers NaN."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        return {name: p * torch.nan for name, p in self.network(images, tasks).items()}


class Borrowed(nn.Module):
    """Gradients come from a network with other weights, answers from its own."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.other = copy.deepcopy(network)
        for parameter in self.other.parameters():
            parameter.data = torch.roll(parameter.data, 1, 0)

    def forward(self, images, tasks=None):
        return (self.other if images.requires_grad else self.network)(images, tasks)


def findings(model, tasks, batch, main_task="segmentation"):
    return check_network(model, tasks, batch, main_task=main_task)


@main_tasks
def test_an_honest_network_is_ok(main_task, trained, tasks, batch):
    assert verdict(findings(trained, tasks, batch, main_task)) == "ok"


@pytest.mark.parametrize(
    ("fraud", "finding"),
    [
        (Scaled, "loss gradients vanish"),
        (StaysInTraining, "predictions depend on the batch"),
        (Rounding, "image gradients vanish"),
        (Broken, "predictions are not finite"),
        (Borrowed, "the attack sees another network"),
    ],
)
def test_known_frauds_are_named(fraud, finding, trained, tasks, batch):
    assert finding in findings(fraud(trained), tasks, batch)


def test_one_image_is_enough_to_look_at(trained, tasks, batch):
    alone = batch.select(torch.tensor([3]))
    assert findings(trained, tasks, alone) == []
    assert findings(StaysInTraining(trained), tasks, alone)


QUICK = EvaluationOptions("quick")


def found_in(make_loaded, models, batch, main_task="segmentation", **options):
    loaded = make_loaded(models, batch, main_task=main_task, **options)
    return [result.findings for result in network_results(loaded, QUICK)]


@main_tasks
def test_the_whole_suite_lets_three_honest_networks_pass(main_task, honest, make_loaded, batch):
    assert found_in(make_loaded, honest, batch, main_task) == [(), (), ()]


@pytest.mark.parametrize(
    ("fraud", "finding"),
    [
        (Scaled, "loss gradients vanish"),
        (Rounding, "a huge epsilon does not reach a constant predictor"),
        (StaysInTraining, "predictions depend on the batch"),
        (Borrowed, "the attack sees another network"),
    ],
)
def test_the_whole_suite_finds_the_known_frauds(fraud, finding, trained, make_loaded, batch):
    (found,) = found_in(make_loaded, [fraud(trained)], batch, task_set=("segmentation",))
    assert finding in found
    assert verdict(found).startswith("gradient masking suspected: ")


@pytest.mark.usefixtures("short_quick")
@pytest.mark.parametrize("randomised", [Dropping, Noisy])
def test_a_randomised_network_is_no_fraud_but_says_how_it_was_attacked(
    randomised, trained, make_loaded, batch
):
    few = batch.select(torch.arange(4))
    loaded = make_loaded([randomised(trained)], few, task_set=("segmentation",))
    (result,) = network_results(loaded, QUICK)
    subject = Subject(3, "noisy", "searched", "nowhere")
    maker = RowMaker(subject, loaded.networks[0], result, "quick", loaded.sources)
    said = "randomised: attacked with EOT over 20 draws"
    for row in maker.rows():
        assert row.verdict.endswith(said) == (row.epsilon > 0)
        assert not row.is_bound


def test_another_networks_images_are_no_white_box_attack(trained, network, make_loaded, batch):
    """What an attack on another network leaves must not pass for robustness."""
    loaded = make_loaded([trained, network.eval()], batch, task_set=("segmentation",))
    plans = plan_networks(loaded, QUICK)
    done = finished(run_here(loaded, plan_shards(plans)))
    outcomes = list(gather_outcomes(done, 0, plans[0].conditions))
    borrowed = gather_transfers(done, 1, plans[1].transferred, 0, "segmentation")[0]
    for place, outcome in enumerate(outcomes):
        if outcome.condition.role == "strong":
            outcomes[place] = replace(outcome, sums={"segmentation": borrowed})
    task = loaded.networks[0].main
    never = dict.fromkeys(task.metric().directions, float("nan"))
    found = check_order(outcomes, task, plans[0].threat, constant=never)
    assert "one step beats many" in found
    assert "fewer steps beat more" in found


def test_transfer_that_beats_the_attack_is_found(honest, make_loaded, batch):
    """A network with a useless gradient falls to the images of its honest twin."""
    loaded = make_loaded([honest[0], Rounding(honest[0])], batch, task_set=("segmentation",))
    plans = plan_networks(loaded, QUICK)
    done = finished(run_here(loaded, plan_shards(plans)))
    fraud = network_result(loaded, plans, done, 1)
    assert "another network's images beat the attack" in fraud.findings
    assert network_result(loaded, plans, done, 0).findings == ()


def test_the_verdict_is_one_cell():
    assert verdict([]) == "ok"
    assert verdict(["a", "b"]) == "gradient masking suspected: a, b"
    said = "randomised: attacked with EOT over 20 draws"
    assert verdict([], is_randomised=True) == said
    assert verdict(["a"], is_randomised=True) == f"gradient masking suspected: a; {said}"


class Detached(nn.Module):
    """The images are rounded, and the gradient says that nothing was."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        rounded = (images * 4).round() / 4
        return self.network(images + (rounded - images).detach(), tasks)


class Flat(nn.Module):
    """An honest answer whose gradient is that of the mean colour."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        mean = images.mean((2, 3), keepdim=True).expand_as(images)
        return self.network(mean + (images - mean).detach(), tasks)


class Constant(nn.Module):
    """One answer for all images."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, tasks=None):
        return self.network(0.5 + 0 * images, tasks)


@main_tasks
def test_a_constant_answer_is_exact(trained, tasks, batch, main_task):
    assert check_network(Constant(trained), tasks, batch, main_task=main_task) == []


def test_a_gradient_that_describes_another_function_voids_the_scores(trained, make_loaded, batch):
    loaded = make_loaded([trained, Detached(trained)], batch, task_set=("segmentation",))
    plans = plan_networks(loaded, QUICK)
    done = finished(run_here(loaded, plan_shards(plans)))
    honest, fraud = (network_result(loaded, plans, done, place) for place in (0, 1))
    for result, voids in ((honest, False), (fraud, True)):
        subject = Subject(0, "any", "other", "network.pt")
        maker = RowMaker(subject, loaded.networks[0], result, "quick", loaded.sources)
        rows = maker.rows()
        assert ("straight_through" in {row.condition for row in rows}) == voids
        bounds = {row.condition for row in rows if row.is_bound}
        attacked = {row.condition for row in rows if row.epsilon > 0} - {"noise"}
        assert bounds == (attacked if voids else set())
        for row in rows:
            assert row.is_bound == row.verdict.startswith("gradients do not describe the function")
            assert not (row.is_bound and row.vulnerability is not None)


def test_what_gets_past_a_wrong_gradient_counts(network, make_loaded, batch):
    """The images are seen as they are, but the gradient is that of their mean colour."""
    loaded = make_loaded([Flat(network.eval())], batch, task_set=("segmentation",))
    plans = plan_networks(loaded, QUICK)
    result = network_result(loaded, plans, finished(run_here(loaded, plan_shards(plans))), 0)
    assert result.gradients.is_failed
    maker = RowMaker(
        Subject(0, "any", "other", "network.pt"),
        loaded.networks[0],
        result,
        "quick",
        loaded.sources,
    )
    left = {row.condition: row.score for row in maker.rows() if row.score_name == "miou"}
    assert left["straight_through"] < left["tempered"] - 0.02
    assert left["worst_case"] <= left["straight_through"]
