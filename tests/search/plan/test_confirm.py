"""The confirm stage: who is trained again, under which recipe, on which split."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from taskgroup.config import parse
from taskgroup.errors import ConfigError
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.plan.baselines import plan_baselines
from taskgroup.search.plan.confirm import FIRST_SEED, partner_of, plan_confirmations
from taskgroup.search.plan.preflight import check_names
from taskgroup.search.plan.proxy import plan_promotions
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.space.study_config import ConfirmConfig, ProxyConfig
from taskgroup.study.confirmation import confirmed_task_sets
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.selection import rank_trials, select_best
from taskgroup.training.config import TrialConfig

Make = Callable[..., SearchSpace]
Go = Callable[[SearchSpace, RunDirectory, Any], None]
ROBUST = StudyObjective("segmentation/robust/miou")
TASKS = ("auxiliary_tasks", "loss_weights", "task_options", "adversary")


@pytest.fixture
def confirmed(searched: list[TrialResult]) -> list[TrialResult]:
    return [record for record in searched if record.stage == "confirm"]


def recipe(config: Any) -> dict[str, Any]:
    """All of a configuration but tasks, their weights and the seed."""
    kept = {key: value for key, value in config.items() if key not in (*TASKS, "seed")}
    return {**kept, "adversary": {**config["adversary"], "attacked_tasks": None}}


def test_only_the_confirm_stage_touches_the_confirm_split(searched: list[TrialResult]) -> None:
    for record in searched:
        split = record.config["validation"]["split"]
        assert (split == "confirm") == (record.stage == "confirm")


def test_confirmation_is_full_length_scored_once_on_the_whole_split(
    confirmed: list[TrialResult],
) -> None:
    for record in confirmed:
        config = parse(TrialConfig, record.config)
        assert config.training.epochs == record.planned_epochs == len(record.epochs) == 4
        assert config.validation.every == 4
        assert config.validation.images is None
        assert (config.validation.steps, config.validation.epsilon) == (10, 4 / 255)
        assert record.fidelity["validation_images"] == 256
        assert record.status == "complete"


def test_baselines_the_best_and_their_partners_are_trained_with_every_seed(
    searched: list[TrialResult], confirmed: list[TrialResult]
) -> None:
    real = [record for record in searched if record.stage == "search"]
    best = rank_trials([t for t in real if t.role == "searched"], [ROBUST])[0]
    everything = next(t for t in real if t.label == "all candidates, equal weights")
    parents = {t.number: t.label for t in real if t.role == "baseline"} | {best.number: best.label}
    partner = f"main only, recipe of trial {best.number}"
    for seed in (FIRST_SEED, FIRST_SEED + 1):
        found = {t.label: t for t in confirmed if t.seed == seed}
        assert set(found) == {*parents.values(), partner}
        assert found[partner].parent == best.number
        for number, label in parents.items():
            assert found[label].parent == number
    assert partner_of(everything).label not in {t.label for t in confirmed}, (
        "the adversarial baseline has that recipe already"
    )
    assert not {t.seed for t in real} & {t.seed for t in confirmed}


def test_partner_differs_in_the_tasks_alone(searched: list[TrialResult]) -> None:
    for found in confirmed_task_sets(searched, [ROBUST]):
        if not found.first.auxiliary_tasks:
            continue
        assert found.partner is not None
        assert found.partner.auxiliary_tasks == ()
        assert recipe(found.partner.config) == recipe(found.first.config)
        assert found.differences[0].seeds == 2


def test_attack_on_all_tasks_becomes_one_on_the_only_task(
    staged: Make, run: RunDirectory, scores: Any, go: Go
) -> None:
    go(staged("adversary.attacked_tasks=all", "search.proxy=null"), run, scores())
    found = confirmed_task_sets(run.trials(), [ROBUST])
    assert all(f.partner is not None for f in found if f.first.auxiliary_tasks)


def test_epochs_may_be_given(staged: Make, run: RunDirectory, scores: Any, go: Go) -> None:
    space = staged(
        "search.proxy=null", "search.confirm.epochs=8", "training.schedule=step",
        "training.step_epochs=[2, 3]",
    )  # fmt: skip
    go(space, run, scores())
    confirmed = [record for record in run.trials() if record.stage == "confirm"]
    assert confirmed
    for record in confirmed:
        assert len(record.epochs) == record.planned_epochs == 8
        assert record.config["training"]["step_epochs"] == [4, 6]


def test_winner_stays_a_trial_of_the_search(searched: list[TrialResult]) -> None:
    best = select_best(searched, [ROBUST])
    assert best is not None
    assert best.stage == "search"
    scores = [t.score(ROBUST.metric) or 0 for t in searched if t.stage == "confirm"]
    assert max(scores) > (best.score(ROBUST.metric) or 0), "though confirmations score higher here"


def test_more_is_confirmed_without_repeating_anything(
    staged: Make, run: RunDirectory, scores: Any, go: Go
) -> None:
    go(staged("search.proxy=null"), run, scores())
    before = run.trials()
    train = scores()
    go(staged("search.proxy=null", "search.confirm={top: 1, seeds: 3}"), run, train)
    after = run.trials()
    assert after[: len(before)] == before
    assert {record.seed for record in after[len(before) :]} == {FIRST_SEED + 2}
    assert len(train.finished) == len(after) - len(before)


@pytest.mark.parametrize(
    ("fix", "message"),
    [
        ("search.confirm={seeds: 1}", "search.confirm.seeds must be at least 2, got 1"),
        ("search.confirm={top: 0}", "search.confirm.top must be at least 1"),
        ("search.confirm={sedes: 3}", "did you mean 'seeds'"),
        ("validation.split=confirm", "validation.split must be validation in a space"),
        ("dataset.confirm={choice: [8, 16]}", "dataset.confirm must be one value"),
    ],
)
def test_mistakes_are_named(staged: Make, fix: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_names(staged(fix))


def test_seeds_of_one_configuration_are_taken_once(make_space: Make) -> None:
    """The best two are two configurations, neither of which is a baseline's."""
    space = make_space("seed={choice: [1, 2, 3]}")
    natural, adversarial, every = plan_baselines(space)

    def seeded(record: TrialResult, number: int, seed: int, score: float) -> TrialResult:
        return replace(
            record,
            number=number,
            role="baseline" if number < 3 else "searched",
            config={**record.config, "seed": seed},
            parameters={**record.parameters, "seed": seed},
            seed=seed,
            status="complete",
            epochs=(EpochRow(4, {ROBUST.metric: score}, 1.0, 0),),
        )

    strong, weak = (
        replace(every, config={**every.config, "loss_weights": dict.fromkeys(space.candidates, w)})
        for w in (0.5, 0.25)
    )
    records = [
        *(seeded(r, n, 2, 0.1) for n, r in enumerate((natural, adversarial, every))),
        *(seeded(adversarial, 2 + seed, seed, 0.9) for seed in (1, 3)),
        *(seeded(strong, 5 + seed, seed, 0.3 + seed / 100) for seed in (1, 2, 3)),
        *(seeded(weak, 8 + seed, seed, 0.2) for seed in (1, 2, 3)),
    ]
    planned = plan_confirmations(space, ConfirmConfig(top=2, seeds=2), records)
    assert {record.parent for record in planned} == {0, 1, 2, 7, 10}
    stand_ins = [replace(record, stage="proxy") for record in records]
    promoted = plan_promotions(space, ProxyConfig(epochs=1, top=2), stand_ins)
    assert [record.parent for record in promoted[-2:]] == [7, 10]
