"""Shards: the same numbers whoever runs them, in pieces that cover every image once."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from taskgroup.attacks.base import ThreatModel
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import measure, plan_networks
from taskgroup.evaluation.shards.scoring import score_model
from taskgroup.evaluation.shards.shard import held_still, pieces, plan_shards, run_shard
from taskgroup.evaluation.shards.threads import run_here

QUICK = EvaluationOptions("quick")


@pytest.fixture
def bench(make_bench, trained, batch):
    """The trained network with two of its tasks on four images."""
    few = batch.select(torch.arange(4))
    return make_bench([trained], few, task_set=("segmentation", "depth"))


def by_name(measured):
    return {(o.condition.name, o.condition.budget.epsilon): o for o in measured.outcomes}


def scores(bench, outcome, task="segmentation"):
    metric = next(t for t in bench.networks[0].tasks if t.name == task).metric()
    return {name: float(v) for name, v in metric.score(outcome.sums[task].sum(0)).items()}


@pytest.mark.parametrize(("count", "most"), [(1, 1), (7, 3), (256, 56), (10, 100), (12, 4)])
def test_pieces_cover_everything_once(count, most):
    found = pieces(count, most)
    assert [image for first, stop in found for image in range(first, stop)] == list(range(count))
    sizes = [stop - first for first, stop in found]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1


def test_no_images_are_no_pieces():
    assert pieces(0, 4) == []


def test_threads_do_not_change_the_numbers(bench):
    shards = plan_shards(plan_networks(bench, QUICK))
    alone = dict(run_here(bench, shards))
    torch.set_num_threads(2)
    try:
        together = dict(run_here(bench, shards))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert set(alone) == set(together) == set(shards)
    for shard in shards:
        for one, other in zip(alone[shard].parts, together[shard].parts, strict=True):
            assert (one.member, one.judge) == (other.member, other.judge)
            assert all(torch.equal(one.sums[task], other.sums[task]) for task in one.sums)


def test_a_shard_depends_on_nothing_but_itself(bench):
    shard = next(s for s in plan_shards(plan_networks(bench, QUICK)) if s.condition.name == "apgd")
    with held_still(bench):
        first, again = run_shard(bench, shard), run_shard(bench, shard)
    assert torch.equal(first.parts[0].sums["depth"], again.parts[0].sums["depth"])


def test_the_network_is_given_back(bench):
    bench.networks[0].model.train()
    measure(bench, QUICK)
    model = bench.networks[0].model
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_mistake_in_one_shard_ends_all(bench):
    class Failing(nn.Module):
        def forward(self, images, tasks=None):
            raise RuntimeError("no answer")

    shards = plan_shards(plan_networks(bench, QUICK))
    broken = replace(bench, networks=(replace(bench.networks[0], model=Failing()),))
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="no answer"):
            list(run_here(broken, shards))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_scores_agree_with_score_model(bench, batch):
    few = [batch.select(torch.arange(4))]
    outcomes = by_name(measure(bench, QUICK)[0])
    trained = bench.networks[0]
    clean = score_model(trained.model, trained.tasks, few, main_task="segmentation")
    assert scores(bench, outcomes["clean", 0]) == pytest.approx(clean.values["segmentation"])
    assert scores(bench, outcomes["sweep", 0]) == scores(bench, outcomes["clean", 0])
    fgsm = outcomes["fgsm", 4 / 255].condition
    again = score_model(
        trained.model,
        trained.tasks,
        few,
        main_task="segmentation",
        attack="fgsm",
        budget=fgsm.budget,
    )
    found = scores(bench, outcomes["fgsm", 4 / 255])
    assert found == pytest.approx(again.values["segmentation"], abs=0.01)  # bfloat16 gradients


def test_one_task_alone_is_not_attacked_twice(make_bench, trained, batch):
    bench = make_bench([trained], batch, task_set=("segmentation",))
    shards = plan_shards(plan_networks(bench, QUICK))
    assert len({shard.condition.work for shard in shards}) == len(shards)
    assert not [shard for shard in shards if shard.condition.role == "tasks"]


def test_an_l2_ball_is_swept_to_the_size_of_the_box(make_bench, trained, batch):
    bench = make_bench([trained], batch, threat=ThreatModel(norm="l2", epsilon=0.5))
    (measured,) = measure(bench, QUICK)
    sweep = [o for o in measured.outcomes if o.condition.name == "sweep"]
    radii = [outcome.condition.budget.epsilon for outcome in sweep]
    assert radii == pytest.approx([0, 0.25, 0.5, 1, 2, (3 * 16 * 16) ** 0.5])
    found = [scores(bench, outcome)["miou"] for outcome in sweep]
    assert found[-1] < found[2] < found[0]
    assert measured.findings == ()


def test_the_last_shard_counts_as_much_as_the_others(make_bench, make_images, trained):
    """Eight, eight and four images: a worst case by position in the batch would go wrong."""
    whole = make_images(20)
    bench = make_bench([trained], whole, task_set=("segmentation",))
    plans = plan_networks(bench, QUICK)
    cut = [replace(plans[0], per_shard=8)]
    shards = [s for s in plan_shards(cut) if s.condition.name == "clean"]
    assert [len(shard) for shard in shards] == [7, 7, 6]
    results = dict(run_here(bench, shards))
    joined = torch.cat([results[shard].parts[0].sums["segmentation"] for shard in shards])
    direct = score_model(trained, bench.networks[0].tasks, [whole], main_task="segmentation")
    assert torch.equal(joined, direct.sums["segmentation"])


@pytest.mark.gpu
def test_a_gpu_gives_about_the_same_scores(make_bench, trained, batch):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    bench = make_bench([trained], batch)
    here = by_name(measure(bench, QUICK)[0])
    trained.cuda()
    there = replace(bench, device=torch.device("cuda"))
    for key, outcome in by_name(measure(there, QUICK)[0]).items():
        assert scores(bench, outcome) == pytest.approx(scores(bench, here[key]), abs=0.03)
