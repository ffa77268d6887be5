"""The search space: one YAML in which any leaf of a trial may be a distribution."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from taskgroup.cluster.placement import ResourcesConfig
from taskgroup.config import flat, parse, parse_yaml, to_yaml
from taskgroup.errors import ConfigError, DataError
from taskgroup.results.records import Stage
from taskgroup.search.space.distributions import Choice, Distribution, Subset, leaves, read_tree
from taskgroup.search.space.find import find_space
from taskgroup.search.space.fixes import apply_fixes, with_value
from taskgroup.search.space.study_config import SearchConfig, StudyConfig
from taskgroup.study.halving import rung_epochs
from taskgroup.study.objectives import ConstraintConfig, StudyObjective
from taskgroup.training.config import TrialConfig
from taskgroup.wording import plural

FIXED_KEYS = (
    "main_task",
    "validation",
    "dataset.name",
    "dataset.validation",
    "dataset.confirm",
    "dataset.seed",
)
"""Keys that make scores comparable, and so are the same in every trial."""


@dataclass(frozen=True)
class SearchSpace:
    """A search space, read and checked.

    Attributes:
        name: Name of the study.
        objectives: What is optimised; the first decides the winner.
        search: Trials, sampler, scheduler.
        resources: What one trial takes.
        constraint: What a winner may give up, or None.
        baseline: Values that baselines take, a tree of trial keys.
        first_points: Trials to begin with, each a tree of trial keys.
        tree: The trial's keys, with distributions at some leaves.
        text: The YAML that the run directory keeps.
    """

    name: str
    objectives: tuple[StudyObjective, ...]
    search: SearchConfig
    resources: ResourcesConfig
    constraint: ConstraintConfig | None
    baseline: Mapping[str, Any]
    first_points: tuple[Mapping[str, Any], ...]
    tree: Mapping[str, Any]
    text: str

    @property
    def main_task(self) -> str:
        """The task to protect."""
        return str(self.tree["main_task"])

    @property
    def candidates(self) -> tuple[str, ...]:
        """Every auxiliary task that some trial may train, sorted."""
        return candidates(self.tree)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which trials are compared; none without a stopping scheduler."""
        if self.search.scheduler == "none":
            return ()
        return rung_epochs(self._grace_epochs, self.search.reduction, self.planned_epochs)

    @property
    def _grace_epochs(self) -> int:
        if self.search.grace_epochs is not None:
            return self.search.grace_epochs
        falls = all(config.training.schedule != "constant" for config in self.examples())
        return math.ceil(2 * self.planned_epochs / 3) if falls else 1

    @property
    def max_clean_drop(self) -> float | None:
        """How much of the clean score a winner may give up; None without a constraint."""
        return None if self.constraint is None else self.constraint.clean_drop

    @property
    def first_stage(self) -> Stage:
        """The stage whose trials ``search.trials`` counts."""
        return "search" if self.search.proxy is None else "proxy"

    def example(self) -> TrialConfig:
        """A trial with every candidate, each distribution at its first extreme."""
        return parse(TrialConfig, _plain(self.tree))

    def examples(self) -> Iterator[TrialConfig]:
        """Trials that together take every extreme of every distribution."""
        return (parse(TrialConfig, values) for values in _corners(self.tree))

    @property
    def planned_epochs(self) -> int:
        """Epochs of the longest trial."""
        return max(config.training.epochs for config in self.examples())

    def describe(self) -> str:
        """One line about the space: trials, main task, how much is searched."""
        trials, tasks, keys = self.search.trials, len(self.candidates), len(leaves(self.tree))
        return (
            f"{'all' if trials is None else trials} {plural(trials or 0, 'trial')} by "
            f"{self.search.sampler}, main task {self.main_task}, "
            f"{tasks} candidate auxiliary {plural(tasks, 'task')}, "
            f"{keys} searched {plural(keys, 'key')}"
        )


def load_space(space: str | Path | Mapping[str, Any], *, fixes: Iterable[str] = ()) -> SearchSpace:
    """Read a space from a path, a shipped name, or plain data.

    Args:
        space: Path of a YAML file, a name that ``taskgroup spaces list`` shows, or a mapping.
        fixes: ``key=value`` pins, applied before anything is checked.

    Raises:
        ConfigError: A key, value or distribution is wrong; the message names it.
        DataError: There is no such file.
    """
    fixes = tuple(fixes)
    if isinstance(space, Mapping):
        return read_space(space, fixes=fixes, source="the space")
    path = find_space(space)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} must be a readable text file: {error}") from None
    return read_space(parse_yaml(text, source=str(path)), fixes=fixes, source=str(path), text=text)


def read_space(
    values: Mapping[str, Any], *, fixes: tuple[str, ...] = (), source: str, text: str | None = None
) -> SearchSpace:
    """Check plain data as a space; ``text`` is kept as it is unless something was fixed.

    Raises:
        ConfigError: A key, value or distribution is wrong; the message names it, after the fix
            that it comes from, or else ``source``.
    """
    fixed = apply_fixes(values, fixes)
    try:
        return _read(fixed, text if text is not None and not fixes else to_yaml(fixed))
    except ConfigError as error:
        origin = _origin(values, fixes, str(error)) or source
        raise ConfigError(f"{origin}: {error}") from None


def _origin(values: Mapping[str, Any], fixes: tuple[str, ...], problem: str) -> str:
    """The fixes that a problem comes from, as written; empty where it is in the values themselves.

    It comes from those without which there would be no problem, or another one.
    """
    single = [
        fix
        for place, fix in enumerate(fixes)
        if _problem(values, fixes[:place] + fixes[place + 1 :]) != problem
    ]
    together = fixes if _problem(values, ()) != problem else ()
    return " ".join(f"--fix {fix}" for fix in dict.fromkeys(single or together))


def _problem(values: Mapping[str, Any], fixes: tuple[str, ...]) -> str:
    """What is wrong with fixed values; empty if nothing is."""
    try:
        _read(apply_fixes(values, fixes), "")
    except ConfigError as error:
        return str(error)
    return ""


def _read(values: Mapping[str, Any], text: str) -> SearchSpace:
    _check_keys(values)
    study = parse(StudyConfig, {k: v for k, v in values.items() if k in StudyConfig.model_fields})
    tree = read_tree({k: v for k, v in values.items() if k in TrialConfig.model_fields})
    tree = {"auxiliary_tasks": (), "loss_weights": 1.0, **tree}
    _check_fixed(tree)
    _check_auxiliaries(tree)
    _check_adversary(tree)
    for corner in _corners(tree):
        parse(TrialConfig, corner)
    _check_baseline(tree, study.baseline)
    return SearchSpace(
        name=study.name,
        objectives=tuple(entry.objective for entry in study.objectives),
        search=study.search,
        resources=study.resources,
        constraint=study.constraint,
        baseline=study.baseline,
        first_points=study.first_points,
        tree=tree,
        text=text,
    )


def _check_keys(values: Mapping[str, Any]) -> None:
    known = sorted({*StudyConfig.model_fields, *TrialConfig.model_fields})
    for key in values:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.5)
            advice = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise ConfigError(f"unknown key {key!r}; {advice}")
    for key in ("dataset", "main_task"):
        if key not in values:
            raise ConfigError(f"{key} is required; add it")


def _check_fixed(tree: Mapping[str, Any]) -> None:
    for name in leaves(tree):
        if any(name == key or name.startswith(f"{key}.") for key in FIXED_KEYS):
            raise ConfigError(
                f"{name} must be one value, got a distribution; scores of trials could not be "
                "compared otherwise"
            )
    if not isinstance(tree["main_task"], str):
        raise ConfigError(f"main_task must be the name of a task, got {tree['main_task']!r}")


def candidates(tree: Mapping[str, Any]) -> tuple[str, ...]:
    """Every auxiliary task that some trial of a tree may train, sorted."""
    node = tree["auxiliary_tasks"]
    groups = node.extremes() if isinstance(node, Distribution) else (node or (),)
    return tuple(sorted({name for group in groups for name in group}))


def _check_auxiliaries(tree: Mapping[str, Any]) -> None:
    node = tree["auxiliary_tasks"]
    groups = node.choice if isinstance(node, Choice) else (node,)
    is_list = all(isinstance(group, list | tuple) for group in groups)
    if not isinstance(node, Subset) and not is_list:
        raise ConfigError(
            "auxiliary_tasks must be a list of tasks or {subset: [...]}, "
            f"got {_shown(node)}; write {{subset: [depth, normals]}}"
        )
    named = groups if is_list else node.extremes()
    wrong = [name for group in named for name in group if not isinstance(name, str)]
    if wrong:
        raise ConfigError(
            f"auxiliary_tasks must be names of tasks, got {_shown(wrong[0])} among them; "
            "write {choice: [[depth], [depth, normals]]} to choose between lists"
        )
    names = candidates(tree)
    if tree["main_task"] in names:
        raise ConfigError(
            f"auxiliary_tasks must not name the main task {tree['main_task']!r}; remove it there"
        )
    _check_weights(tree["loss_weights"], names)


def _check_weights(node: object, names: tuple[str, ...]) -> None:
    if isinstance(node, Mapping) and set(node) == {"shared"}:
        _check_shared_weight(node["shared"])
        return
    if not isinstance(node, Mapping):
        return
    for name in node:
        if name not in names:
            raise ConfigError(
                f"loss_weights.{name} must belong to a candidate of auxiliary_tasks, "
                f"which are: {', '.join(names) or 'none'}"
            )
    for name in names:
        if name not in node:
            raise ConfigError(f"loss_weights.{name} is required; add it, or give one for all")


def _check_shared_weight(node: object) -> None:
    """It is divided by the number of tasks, so that text, which a trial would read, will not do."""
    if isinstance(node, Distribution):
        options = node.choice if isinstance(node, Choice) else node.extremes()
    else:
        options = (node,)
    for option in options:
        if isinstance(option, bool) or not isinstance(option, int | float):
            raise ConfigError(
                f"loss_weights.shared must be a number, got {_shown(option)}; write 0.5"
            )


def _check_adversary(tree: Mapping[str, Any]) -> None:
    node = tree.get("adversary")
    if isinstance(node, Mapping) and node and "attack" not in node:
        raise ConfigError(
            "adversary.attack is required when adversary has other keys; add attack: pgd, or none"
        )
    if isinstance(node, Distribution):
        raise ConfigError("adversary must hold keys, got a distribution; give its keys one each")


def _check_baseline(tree: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    for key, value in flat(overrides).items():
        if isinstance(value, Mapping) or key.split(".")[0] not in TrialConfig.model_fields:
            raise ConfigError(f"baseline.{key} must be a trial's key and one value")
        if key.split(".")[0] in ("main_task", "auxiliary_tasks", "dataset", "validation"):
            raise ConfigError(f"baseline.{key} must not be set; baselines share it with the study")
        try:
            if not key.startswith("loss_weights"):
                parse(TrialConfig, with_value(_plain(tree), key, value))
        except ConfigError as error:
            raise ConfigError(f"baseline: {error}") from None


def _corners(tree: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A plain trial, then one per further extreme of each distribution."""
    plain = _plain(tree)
    yield plain
    for name, leaf in leaves(tree).items():
        if name.startswith(("auxiliary_tasks", "loss_weights")):
            continue
        for value in leaf.extremes()[1:]:
            yield with_value(plain, name, value)
    for extreme in (0, -1):
        yield {**plain, "loss_weights": _weights(tree, extreme)}


def _plain(node: Any) -> Any:
    """A tree with every distribution at its first extreme, all candidates trained."""
    if isinstance(node, Distribution):
        return node.extremes()[0]
    if not isinstance(node, Mapping):
        return node
    plain = {key: _plain(value) for key, value in node.items()}
    if "auxiliary_tasks" in node:
        plain |= {"auxiliary_tasks": candidates(node), "loss_weights": _weights(node, 0)}
    return plain


def _weights(tree: Mapping[str, Any], extreme: int) -> dict[str, Any]:
    """A weight per candidate, distributions at their first (0) or last (-1) extreme."""
    node = tree["loss_weights"]
    if isinstance(node, Mapping) and set(node) == {"shared"}:
        node = node["shared"]
    weights = node if isinstance(node, Mapping) else dict.fromkeys(candidates(tree), node)
    return {
        name: weight.extremes()[extreme] if isinstance(weight, Distribution) else weight
        for name, weight in weights.items()
    }


def _shown(node: object) -> str:
    return next(iter(node.model_dump())) if isinstance(node, Distribution) else repr(node)
