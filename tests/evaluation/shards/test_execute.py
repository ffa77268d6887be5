"""Shards give the same numbers whoever runs them, and what they have freed goes back."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from taskgroup.attacks.base import ThreatModel
from taskgroup.evaluation.loading import fixed_networks
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import network_results, plan_networks
from taskgroup.evaluation.scoring import score_model
from taskgroup.evaluation.shards.execute import release_freed_memory, run_here, run_shard
from taskgroup.evaluation.shards.shard import plan_shards

QUICK = EvaluationOptions("quick")
MEGABYTE = 2**20


@pytest.fixture
def loaded(make_loaded, trained, batch):
    """The trained network with two of its tasks on four images."""
    few = batch.select(torch.arange(4))
    return make_loaded([trained], few, task_set=("segmentation", "depth"))


def by_name(result):
    return {(o.condition.name, o.condition.perturbation.budget.epsilon): o for o in result.outcomes}


def scores(loaded, outcome, task="segmentation"):
    metric = next(t for t in loaded.networks[0].tasks if t.name == task).metric()
    return {name: float(v) for name, v in metric.score(outcome.sums[task].sum(0)).items()}


def test_threads_do_not_change_the_numbers(loaded):
    shards = plan_shards(plan_networks(loaded, QUICK))
    alone = dict(run_here(loaded, shards))
    torch.set_num_threads(2)
    try:
        together = dict(run_here(loaded, shards))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert set(alone) == set(together) == set(shards)
    for shard in shards:
        for one, other in zip(alone[shard].parts, together[shard].parts, strict=True):
            assert (one.member, one.network) == (other.member, other.network)
            assert all(torch.equal(one.sums[task], other.sums[task]) for task in one.sums)


def test_a_shard_depends_on_nothing_but_itself(loaded):
    shard = next(
        s for s in plan_shards(plan_networks(loaded, QUICK)) if s.condition.name == "tempered"
    )
    with fixed_networks(loaded):
        first, again = run_shard(loaded, shard), run_shard(loaded, shard)
    assert torch.equal(first.parts[0].sums["depth"], again.parts[0].sums["depth"])


def test_pictures_of_the_first_four_images_are_kept(make_loaded, trained, batch):
    loaded = make_loaded([trained], batch)
    shard = next(s for s in plan_shards(plan_networks(loaded, QUICK)) if s.keeps_samples)
    with fixed_networks(loaded):
        samples = run_shard(loaded, shard).samples
    assert samples.index.tolist() == [0, 1, 2, 3]
    assert torch.equal(samples.images, batch.images[:4])
    assert torch.equal(samples.target.values, batch.targets["segmentation"].values[:4])


def test_the_network_is_given_back(loaded):
    loaded.networks[0].model.train()
    network_results(loaded, QUICK)
    model = loaded.networks[0].model
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_mistake_in_one_shard_ends_all(loaded):
    class Failing(nn.Module):
        def forward(self, images, tasks=None):
            raise RuntimeError("no answer")

    shards = plan_shards(plan_networks(loaded, QUICK))
    broken = replace(loaded, networks=(replace(loaded.networks[0], model=Failing()),))
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="no answer"):
            list(run_here(broken, shards))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_scores_agree_with_score_model(loaded, batch):
    few = [batch.select(torch.arange(4))]
    outcomes = by_name(network_results(loaded, QUICK)[0])
    trained = loaded.networks[0]
    clean = score_model(trained.model, trained.tasks, few)
    assert scores(loaded, outcomes["clean", 0]) == pytest.approx(clean.values["segmentation"])
    assert scores(loaded, outcomes["sweep", 0]) == scores(loaded, outcomes["clean", 0])
    fgsm = outcomes["fgsm", 4 / 255].condition
    again = score_model(
        trained.model,
        trained.tasks,
        few,
        perturbation=fgsm.perturbation,
    )
    found = scores(loaded, outcomes["fgsm", 4 / 255])
    assert found == pytest.approx(again.values["segmentation"], abs=0.01)  # bfloat16 gradients


def test_an_l2_ball_is_swept_to_the_size_of_the_box(make_loaded, trained, batch):
    loaded = make_loaded([trained], batch, threat=ThreatModel(norm="l2", epsilon=0.5))
    (result,) = network_results(loaded, QUICK)
    sweep = [o for o in result.outcomes if o.condition.name == "sweep"]
    radii = [outcome.condition.perturbation.budget.epsilon for outcome in sweep]
    assert radii == pytest.approx([0, 0.25, 0.5, 1, 2, (3 * 16 * 16) ** 0.5])
    found = [scores(loaded, outcome)["miou"] for outcome in sweep]
    assert found[-1] < found[2] < found[0]
    assert result.findings == ()


def test_the_last_shard_counts_as_much_as_the_others(make_loaded, make_images, trained):
    """Eight, eight and four images: a worst case by position in the batch would go wrong."""
    whole = make_images(20)
    loaded = make_loaded([trained], whole, task_set=("segmentation",))
    plans = plan_networks(loaded, QUICK)
    cut = [replace(plans[0], per_shard=8)]
    shards = [s for s in plan_shards(cut) if s.condition.name == "clean"]
    assert [len(shard) for shard in shards] == [7, 7, 6]
    results = dict(run_here(loaded, shards))
    joined = torch.cat([results[shard].parts[0].sums["segmentation"] for shard in shards])
    direct = score_model(trained, loaded.networks[0].tasks, [whole])
    assert torch.equal(joined, direct.sums["segmentation"])


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for its memory")
def test_holes_in_the_heap_are_given_back():
    release_freed_memory()
    before = resident()
    blocks = [torch.ones(16 * 1024) for _ in range(2000)]  # 64 KB each, below any threshold
    kept = blocks[::400]
    del blocks
    full = resident()
    release_freed_memory()
    after = resident()
    assert len(kept) == 5
    assert full - before > 60 * MEGABYTE
    assert after - before < 30 * MEGABYTE


@pytest.mark.gpu
def test_a_gpu_gives_about_the_same_scores(make_loaded, trained, batch):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    loaded = make_loaded([trained], batch)
    here = by_name(network_results(loaded, QUICK)[0])
    trained.cuda()
    there = replace(loaded, device=torch.device("cuda"))
    for key, outcome in by_name(network_results(there, QUICK)[0]).items():
        assert scores(loaded, outcome) == pytest.approx(scores(loaded, here[key]), abs=0.03)
