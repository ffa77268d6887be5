"""The suite as a whole: same numbers with any number of threads, state given back."""

from dataclasses import replace

import pytest
import torch

from taskgroup.attacks.base import ThreatModel
from taskgroup.data.scenes import SceneConfig
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.evaluation.scoring import score_model
from taskgroup.evaluation.suite import measure, planned_passes
from taskgroup.evaluation.workers import batch_workers

CPU = torch.device("cpu")


@pytest.fixture
def small(trained, tasks):
    """The trained network with two of its tasks."""
    return TrainedModel(
        trained,
        tuple(tasks[:2]),
        SceneConfig(name="scenes"),
        "segmentation",
        ThreatModel(epsilon=4 / 255),
    )


def numbers(measured):
    return [
        (outcome.condition.name, outcome.condition.budget.epsilon, dict(outcome.scores.values))
        for outcome in measured.outcomes
    ]


def test_threads_do_not_change_the_numbers(small, batches):
    tiny = [batch.select(torch.arange(2)) for batch in batches]
    alone = measure(small, tiny)
    torch.set_num_threads(2)
    try:
        together = measure(small, tiny)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    for (name, epsilon, first), (again, radius, second) in zip(
        numbers(alone), numbers(together), strict=True
    ):
        assert (name, epsilon) == (again, radius)
        for task, scores in first.items():
            assert second[task] == pytest.approx(scores, rel=1e-3)


def test_everything_planned_is_reported_and_the_network_given_back(small, batches):
    one = [batches[2]]
    small.model.train()
    told = []
    measured = measure(small, one, advance=lambda passes, name: told.append((passes, name)))
    assert sum(passes for passes, _ in told) == planned_passes(small, one[0].images) * 4
    assert all(module.training for module in small.model.modules())
    assert all(parameter.requires_grad for parameter in small.model.parameters())
    shown = [outcome.condition.name for outcome in measured.outcomes if outcome.shown]
    assert shown == ["clean", "pgd"]


def test_clean_and_attacked_scores_agree_with_score_model(small, batches):
    one = [batches[2]]
    outcomes = {
        (outcome.condition.name, outcome.condition.budget.epsilon): outcome
        for outcome in measure(small, one, seed=4).outcomes
    }
    clean = score_model(small.model, small.tasks, one, main_task="segmentation")
    assert outcomes["clean", 0].scores.values == clean.values
    assert outcomes["sweep", 0].scores.values == clean.values
    fgsm = outcomes["fgsm", 4 / 255].condition
    again = score_model(
        small.model,
        small.tasks,
        one,
        main_task="segmentation",
        attack="fgsm",
        budget=fgsm.budget,
        seed=4,
    )
    found = outcomes["fgsm", 4 / 255].scores.values["segmentation"]
    assert found == pytest.approx(again.values["segmentation"], abs=0.01)  # bfloat16 gradients


def test_one_task_alone_is_not_attacked_twice(small, batches):
    alone = replace(small, tasks=small.tasks[:1])
    told = []
    measured = measure(alone, [batches[2]], advance=lambda _, name: told.append(name))
    assert "pgd_all" not in told
    outcomes = {outcome.condition.name: outcome for outcome in measured.outcomes}
    assert outcomes["pgd_all"].scores is outcomes["pgd"].scores


def test_threads_are_shared_among_batches():
    torch.set_num_threads(4)
    try:
        with batch_workers(2, CPU) as pool:
            assert list(pool.map(lambda _: torch.get_num_threads(), range(2))) == [2, 2]
        assert torch.get_num_threads() == 4
        with batch_workers(1, CPU) as pool:
            assert pool is None
    finally:
        torch.set_num_threads(1)
    with batch_workers(5, CPU) as pool:
        assert pool is None


def test_an_l2_ball_is_swept_to_the_size_of_the_box(small, batches):
    ball = ThreatModel(norm="l2", epsilon=0.5)
    measured = measure(replace(small, threat=ball), [batches[2]])
    sweep = [o for o in measured.outcomes if o.condition.name == "sweep"]
    radii = [outcome.condition.budget.epsilon for outcome in sweep]
    assert radii == pytest.approx([0, 0.25, 0.5, 1, 2, (3 * 16 * 16) ** 0.5])
    scores = [outcome.scores.values["segmentation"]["miou"] for outcome in sweep]
    assert scores[-1] < scores[2] < scores[0]
    assert measured.findings == ()


@pytest.mark.gpu
def test_a_gpu_gives_about_the_same_scores(small, batches):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    here = numbers(measure(small, batches))
    small.model.cuda()
    there = numbers(measure(small, [batch.to(torch.device("cuda")) for batch in batches]))
    for (name, _, first), (again, _, second) in zip(here, there, strict=True):
        assert name == again
        assert first["segmentation"] == pytest.approx(second["segmentation"], abs=0.03)
