"""The proxy stage: what is made cheaper, what is promoted."""

from collections.abc import Callable
from typing import Any

import pytest

from taskgroup.errors import ConfigError
from taskgroup.results.records import TrialResult
from taskgroup.search.plan.baselines import plan_baselines
from taskgroup.search.plan.planning import with_epochs
from taskgroup.search.plan.preflight import check_names
from taskgroup.search.plan.proxy import proxy_space
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.space.study_config import ProxyConfig
from taskgroup.study.agreement import proxy_pairs
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.selection import rank_trials, select_best

Make = Callable[..., SearchSpace]
ROBUST = StudyObjective("segmentation/robust/miou")


def stage(records: list[TrialResult], name: str) -> list[TrialResult]:
    return [record for record in records if record.stage == name]


def cheap(space: SearchSpace) -> SearchSpace:
    assert space.search.proxy is not None
    return proxy_space(space, space.search.proxy)


def test_stand_in_is_cheaper_in_every_way(staged: Make) -> None:
    for config in cheap(staged()).examples():
        assert config.model.width == 4
        assert config.training.epochs == 2
        assert config.dataset.image_size == 32
        assert config.validation.steps == config.adversary.steps == 2


def test_what_is_left_out_stays(staged: Make) -> None:
    space = staged("search.proxy={epochs: 1}")
    for before, after in zip(space.examples(), cheap(space).examples(), strict=True):
        training = before.training.model_copy(update={"epochs": 1})
        assert after == before.model_copy(update={"training": training})


def test_attack_steps_are_a_cap_and_spare_what_is_searched(staged: Make) -> None:
    few = cheap(staged("search.proxy.attack_steps=8", "adversary.steps=3")).example()
    assert (few.validation.steps, few.adversary.steps) == (8, 3), "a proxy never costs more"
    searched = cheap(staged("adversary.steps={randint: [1, 5]}"))
    assert {config.adversary.steps for config in searched.examples()} == {1, 5}
    assert searched.example().validation.steps == 2


def test_schedule_keeps_its_shape(staged: Make) -> None:
    training = {
        "epochs": 40, "schedule": "step", "step_epochs": [20, 30], "warmup_epochs": 4,
    }  # fmt: skip
    space = staged("search.proxy.epochs=4", training=training)
    short = cheap(space).example().training
    assert (short.step_epochs, short.warmup_epochs) == ((2, 3), 0.4)
    assert with_epochs(training, 40) == training


def test_baseline_section_does_not_undo_the_proxy(staged: Make) -> None:
    space = staged(baseline={"training": {"epochs": 4, "learning_rate": 0.005}})
    for planned in plan_baselines(cheap(space)):
        assert planned.config["training"]["epochs"] == 2
        assert planned.config["training"]["learning_rate"] == 0.005


@pytest.mark.parametrize(
    ("fixes", "message"),
    [
        (["search.proxy={top: 3}"], "search.proxy must make trials cheaper"),
        (["search.proxy={widht: 3}"], "unknown key 'search.proxy.widht'; did you mean 'width'"),
        (["model.width={choice: [8, 16]}"], "search.proxy.width must replace one value"),
        (["model.backbone=resnet18", "model.width=null"], "search.proxy: .*width"),
        (["search.proxy.image_size=20"], "search.proxy: .*image_size must be at least 32"),
        (["training.warmup_epochs={uniform: [1, 3]}"], "search.proxy: .*warmup_epochs"),
    ],
)
def test_mistakes_name_the_proxy(staged: Make, fixes: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_names(staged(*fixes))


def test_promotion_is_the_same_draw_in_the_real_setting(searched: list[TrialResult]) -> None:
    proxies, real = stage(searched, "proxy"), stage(searched, "search")
    assert len(proxies) == 8
    assert len(real) == 3 + 2
    for trial in real:
        parent = searched[trial.parent or 0]
        assert (parent.stage, parent.label, parent.role) == ("proxy", trial.label, trial.role)
        assert dict(parent.parameters) == dict(trial.parameters)
        assert trial.config["training"]["epochs"] == 4
        assert trial.config["model"]["width"] == 8
        assert trial.config["validation"]["steps"] == 10
        assert trial.fidelity != parent.fidelity


def test_best_stand_ins_and_all_baselines_are_promoted(searched: list[TrialResult]) -> None:
    proxies, real = stage(searched, "proxy"), stage(searched, "search")
    best = rank_trials([t for t in proxies if t.role == "searched"], [ROBUST])[:2]
    assert [t.parent for t in real if t.role == "searched"] == [trial.number for trial in best]
    labels = [trial.label for trial in proxies if trial.role == "baseline"]
    assert [trial.label for trial in real if trial.role == "baseline"] == labels
    assert len(proxy_pairs(searched)) == 5


def test_winner_is_a_trial_of_the_real_setting(searched: list[TrialResult]) -> None:
    best = select_best(searched, [ROBUST])
    assert best is not None
    assert best.stage == "search"


def test_every_combination_of_keys_is_optional() -> None:
    keys: dict[str, Any] = {"width": 8, "epochs": 1, "image_size": 32, "attack_steps": 1}
    for key, value in keys.items():
        assert ProxyConfig(**{key: value}).top == 3
