"""Shards cover every image once, and the same work is planned once."""

import pytest

from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import plan_networks
from taskgroup.evaluation.shards.shard import pieces, plan_shards


@pytest.mark.parametrize(("count", "most"), [(1, 1), (7, 3), (256, 56), (10, 100), (12, 4)])
def test_pieces_cover_everything_once(count, most):
    found = pieces(count, most)
    assert [image for first, stop in found for image in range(first, stop)] == list(range(count))
    sizes = [stop - first for first, stop in found]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1


def test_no_images_are_no_pieces():
    assert pieces(0, 4) == []


def test_one_task_alone_is_not_attacked_twice(make_loaded, trained, batch):
    loaded = make_loaded([trained], batch, task_set=("segmentation",))
    shards = plan_shards(plan_networks(loaded, EvaluationOptions("quick")))
    assert len({shard.condition.work for shard in shards}) == len(shards)
    assert not [shard for shard in shards if shard.condition.role == "tasks"]


def test_one_condition_is_scored_on_other_networks_too(make_loaded, honest, batch):
    plans = plan_networks(make_loaded(honest[:2], batch), EvaluationOptions("quick"))
    shards = plan_shards(plans)
    shared = [shard for shard in shards if shard.transfer_targets]
    assert {(s.network, s.transfer_targets) for s in shared} == {(0, (1,)), (1, (0,))}
    assert {shard.condition.work for shard in shared} == {plans[0].transferred.work}
