"""A second kind of perturbation goes where attacks go, and counts for none of what they prove."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
import torch

from taskgroup.attacks.base import ATTACK_VERSION, AttackBudget, ThreatModel
from taskgroup.draws import Share
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.perturbations.base import WHOLE, BatchSeed, NetworkUnderTest, RowFields
from taskgroup.evaluation.run import plan_networks
from taskgroup.evaluation.scoring import score_model
from taskgroup.evaluation.shards.execute import run_here
from taskgroup.evaluation.shards.shard import plan_shards
from taskgroup.evaluation.shards.store import ShardStore
from taskgroup.evaluation.subjects import Subject
from taskgroup.evaluation.suites.conditions import Condition
from taskgroup.evaluation.verdict.network_result import network_result
from taskgroup.evaluation.verdict.outcomes import finished
from taskgroup.evaluation.verdict.rows import RowMaker
from taskgroup.results.record_files import read_records
from taskgroup.results.records import EvaluationRow, ImageRow
from taskgroup.results.storage.base import open_storage

MAIN = ("segmentation",)
BALL = ThreatModel(epsilon=4 / 255)
EVERYTHING = (ThreatModel(epsilon=1.0), ThreatModel(norm="l2", epsilon=1e3))
SUBJECT = Subject(0, "network", "other", "")


@dataclass(frozen=True)
class Fog:
    """Buries each image in noise of its own; the number of a batch does not matter."""

    severity: Literal[1, 2, 3, 4, 5]
    name: str = "fog"
    passes: float = 1.0

    @property
    def work(self) -> Mapping[str, Any]:
        return {"corruption": [self.name, self.severity]}

    def apply(self, network, batch, seed):
        noise = [
            BatchSeed(seed.seed, image).draws().rand(*batch.images.shape[1:])
            for image in batch.index.tolist()
        ]
        return {WHOLE: torch.lerp(batch.images, torch.stack(noise), self.severity / 5)}

    def is_inside(self, threat):
        return False

    def row(self):
        return RowFields("corruption", attack=self.name, severity=self.severity)


MILD, HEAVY = (Condition("fog", Fog(severity), "corruption") for severity in (2, 5))
ATTACK = Condition("apgd", NetworkAttack("apgd", AttackBudget(epsilon=4 / 255, steps=4), MAIN))


@pytest.fixture
def loaded(make_loaded, trained, make_images):
    return make_loaded([trained], make_images(7), task_set=MAIN, threat=BALL)


def planned(loaded, *conditions, per_shard=4):
    (plan,) = plan_networks(loaded, EvaluationOptions("quick"))
    clean = plan.conditions[0]
    return [replace(plan, conditions=(clean, *conditions), transferred=ATTACK, per_shard=per_shard)]


def evaluated(loaded, *conditions, per_shard=4):
    plans = planned(loaded, *conditions, per_shard=per_shard)
    result = network_result(loaded, plans, finished(run_here(loaded, plan_shards(plans))), 0)
    return result, RowMaker(SUBJECT, loaded.networks[0], result, "quick", loaded.sources)


def test_a_corruption_has_rows_of_its_kind_and_its_severity(loaded):
    rows = evaluated(loaded, ATTACK, MILD, HEAVY)[1].rows()
    kinds = {(row.condition, row.kind, row.severity) for row in rows}
    assert kinds == {
        ("clean", "attack", 0),
        ("apgd", "attack", 0),
        ("worst_case", "attack", 0),
        ("fog", "corruption", 2),
        ("fog", "corruption", 5),
    }
    fog = next(row for row in rows if row.kind == "corruption")
    assert (fog.attack, fog.norm, fog.epsilon, fog.steps, fog.restarts) == ("fog", "", 0, 0, 0)
    assert (fog.attacked_tasks, fog.step_size, fog.vulnerability) == ((), None, None)
    assert fog.images == 7


def test_a_corruption_enters_no_ball_no_worst_case_and_no_verdict(loaded):
    """The heavy one hurts more than the attack, so that it would be seen."""
    result, maker = evaluated(loaded, ATTACK, MILD, HEAVY)
    without, other = evaluated(loaded, ATTACK)
    assert not any(HEAVY.is_inside(threat) for threat in (BALL, *EVERYTHING))
    assert all(ATTACK.is_inside(threat) for threat in (BALL, EVERYTHING[0]))

    def miou(condition):
        rows = [row for row in maker.rows() if row.condition == condition]
        return min(row.score for row in rows if row.score_name == "miou")

    assert miou("fog") < miou("worst_case") - 0.01
    assert [row for row in maker.rows() if row.condition == "worst_case"] == [
        replace(row, seconds=maker.rows()[-1].seconds)
        for row in other.rows()
        if row.condition == "worst_case"
    ]
    assert not any(row.member == "fog" for row in maker.worst_images())
    assert result.findings == without.findings
    masked = replace(maker, result=replace(result, findings=("loss gradients vanish",)))
    assert {row.condition for row in masked.rows() if row.verdict != "ok"} == {
        "apgd",
        "worst_case",
    }


def test_an_image_is_corrupted_alike_in_every_shard(loaded):
    results = [evaluated(loaded, ATTACK, MILD, per_shard=count)[0] for count in (3, 7)]
    cut, whole = (result.outcomes[-1] for result in results)
    assert cut.condition == whole.condition == MILD
    assert torch.equal(cut.sums["segmentation"], whole.sums["segmentation"])


def test_shards_of_a_corruption_are_stored_and_found_again(loaded, tmp_path):
    kept = ShardStore(open_storage(tmp_path), (SUBJECT,), loaded)
    shards = plan_shards(planned(loaded, MILD, replace(MILD, name="mist"), HEAVY))
    assert [shard.condition.name for shard in shards] == ["clean"] * 2 + ["fog"] * 4
    assert len({kept.name(shard) for shard in shards}) == len(shards)
    for shard, result in run_here(loaded, shards):
        kept.save(shard, result, [])
        again, _ = kept.load(shard)
        for one, other in zip(again.parts, result.parts, strict=True):
            assert torch.equal(one.sums["segmentation"], other.sums["segmentation"])
    row = read_records(kept.storage, kept.name(shards[-1]), ImageRow)[0]
    assert (row.condition, row.kind, row.severity, row.norm) == ("fog", "corruption", 5, "")


def test_a_corruption_is_scored_without_an_evaluation_too(trained, tasks, batches):
    clean, fog = (
        score_model(trained, tasks, batches, perturbation=p).values["segmentation"]["miou"]
        for p in (None, Fog(5))
    )
    assert fog < clean - 0.1


def test_shards_of_earlier_evaluations_are_found_by_the_same_text():
    """An interrupted evaluation goes on with what it has, whatever code has moved meanwhile."""
    budget = {
        **{"norm": "linf", "epsilon": 0.5, "steps": 10, "step_size": None, "restarts": 1},
        **{"random_start": True, "keep": "best", "seed_compatible": False},
    }
    attack = NetworkAttack("apgd", AttackBudget(epsilon=0.5), MAIN, "loss_ratio")
    assert json.loads(json.dumps(attack.work)) == {
        "condition": ["apgd", ["segmentation"], "loss_ratio"],
        "budget": budget,
        "attack_version": ATTACK_VERSION,
    }
    clean = NetworkAttack(None, AttackBudget(epsilon=0.5))
    assert json.loads(json.dumps(clean.work)) == {"condition": [None, [], "sum"], "budget": budget}
    assert replace(attack, is_joined=True).work != attack.work


def test_records_take_the_columns_that_they_have():
    fields = ATTACK.perturbation.row()
    assert fields.of(EvaluationRow) == vars(fields)
    assert set(vars(fields)) - set(fields.of(ImageRow)) == {"step_size", "attack_version"}


def test_the_shares_of_workers_have_the_noise_of_the_whole_batch(trained, tasks, batch):
    attack = NetworkAttack("noise", AttackBudget(epsilon=0.1), MAIN)
    network = NetworkUnderTest(trained, tasks)
    whole = attack.apply(network, batch, BatchSeed(3, 1))[WHOLE]
    for first in (0, 1):
        rows = range(first, 8, 2)
        part = batch.select(torch.tensor(rows))
        found = attack.apply(network, part, BatchSeed(3, 1, Share(8, rows)))[WHOLE]
        assert torch.equal(found, whole[first::2])
