"""The proxy stage: search on a cheap stand-in, then train what was best for real.

Only fixed keys are made cheaper. What the space searches is searched on the stand-in too, so a
promoted trial has the same drawn values in the real setting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from taskgroup.config import flat
from taskgroup.errors import ConfigError
from taskgroup.results.records import TrialResult
from taskgroup.search.plan.baselines import plan_baselines
from taskgroup.search.plan.draw import Replay, draw
from taskgroup.search.plan.planning import plan_trial, with_epochs
from taskgroup.search.plan.sources import StageSource
from taskgroup.search.space.distributions import Distribution
from taskgroup.search.space.fixes import with_value
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.space.study_config import ProxyConfig
from taskgroup.study.selection import rank_searched, study_limits
from taskgroup.training.config import AdversaryConfig, ValidationConfig

REPLACED = {"width": "model.width", "image_size": "dataset.image_size", "epochs": "training.epochs"}
"""Keys of a trial by the key of ``search.proxy`` that takes their place."""


class ProxyTrials:
    """A study's trials, marked as stand-ins."""

    def __init__(self, study: StageSource) -> None:
        self._study = study

    @property
    def total(self) -> int:
        """The study's trials."""
        return self._study.total

    def ask(self) -> TrialResult | None:
        """The study's next trial."""
        record = self._study.ask()
        return None if record is None else replace(record, stage="proxy")

    def tell(self, record: TrialResult) -> TrialResult:
        """Tell the study how a trial ended."""
        return self._study.tell(record)


def proxy_space(space: SearchSpace, proxy: ProxyConfig) -> SearchSpace:
    """The cheap stand-in of a space.

    Raises:
        ConfigError: The proxy replaces a key that the space searches.
    """
    asked = {key: getattr(proxy, name) for name, key in REPLACED.items()}
    replaced = {key: value for key, value in asked.items() if value is not None}
    tree = dict(space.tree)
    for key, value in replaced.items():
        _check_fixed(tree, key)
        section = key.partition(".")[0]
        if key == "training.epochs":
            tree[section] = with_epochs(tree.get(section, {}), value)
        else:
            tree = with_value(tree, key, value)
    if proxy.attack_steps is not None:
        tree = _with_fewer_steps(tree, proxy.attack_steps)
    kept = {key: value for key, value in flat(space.baseline).items() if key not in replaced}
    baseline: dict[str, Any] = {}
    for key, value in kept.items():
        baseline = with_value(baseline, key, value)
    return replace(space, tree=tree, baseline=baseline)


def _check_fixed(tree: Mapping[str, Any], key: str) -> None:
    section, _, name = key.partition(".")
    node = (tree.get(section) or {}).get(name)
    if isinstance(node, Distribution):
        raise ConfigError(
            f"search.proxy.{name} must replace one value, but {key} is searched; "
            f"leave search.proxy.{name} out, or give {key} one value"
        )


def _with_fewer_steps(tree: Mapping[str, Any], most: int) -> dict[str, Any]:
    """A tree whose attacks take at most ``most`` steps; searched steps stay searched."""
    changed = dict(tree)
    defaults = {"validation": ValidationConfig().steps, "adversary": AdversaryConfig().steps}
    for section, default in defaults.items():
        keys = changed.get(section) or {}
        steps = keys.get("steps", default)
        if not isinstance(steps, Distribution) and (keys or section == "validation"):
            changed[section] = {**keys, "steps": min(most, steps)}
    return changed


def plan_promotions(
    space: SearchSpace, proxy: ProxyConfig, records: Sequence[TrialResult]
) -> list[TrialResult]:
    """Every baseline and the best stand-ins, in the real setting, without numbers yet.

    Args:
        space: The real setting.
        proxy: How many are promoted.
        records: Trials of the proxy stage, all ended.
    """
    parents = {record.label: record.number for record in records if record.role == "baseline"}
    baselines = [
        replace(planned, parent=parents.get(planned.label)) for planned in plan_baselines(space)
    ]
    limits = study_limits(records, space.objectives, space.max_clean_drop, stage="proxy")
    best = rank_searched(records, space.objectives, limits=limits)
    return [*baselines, *(_promoted(space, record) for record in best[: proxy.top])]


def _promoted(space: SearchSpace, record: TrialResult) -> TrialResult:
    """A stand-in's drawn values in the real setting."""
    drawn = draw(space, Replay(record.parameters))
    return plan_trial(record.number, drawn, label=record.label, parent=record.number)
