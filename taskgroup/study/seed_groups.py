"""Trials that differ in their seed alone, side by side with the main task alone.

This is what a grid study is read by: every configuration is a mean over seeds, and every task set
stands in a line with the main task alone under the same recipe.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgroup.results.records import EvaluationRow, TrialResult
from taskgroup.study.confirmation import single_task_config
from taskgroup.study.seed_means import MeanInterval, t_interval

WEIGHTS = "loss_weights"


@dataclass(frozen=True)
class Scored:
    """A finished trial with what was measured of it.

    Attributes:
        trial: Its record.
        rows: The rows of its latest evaluation on one split; may be empty.
        weights: How its loss weights were given, by key: ``{"loss_weights.shared": 0.1}``.
        run: The run directory that it lies in.
    """

    trial: TrialResult
    rows: tuple[EvaluationRow, ...] = ()
    weights: Mapping[str, Any] | None = None
    run: str = ""


Measure = Callable[[Scored], float]
"""One number of a trial; NaN where it was not measured."""


@dataclass(frozen=True, eq=False)
class SeedGroup:
    """One configuration, trained with several seeds.

    Attributes:
        members: Its trials by seed, each seed once.
    """

    members: tuple[Scored, ...]

    @property
    def trial(self) -> TrialResult:
        """The trial that stands for all seeds."""
        return self.members[0].trial

    @property
    def trials(self) -> tuple[TrialResult, ...]:
        """The records of all seeds, by seed."""
        return tuple(member.trial for member in self.members)

    @property
    def first_number(self) -> int:
        """The lowest number of its trials."""
        return min(trial.number for trial in self.trials)

    @property
    def auxiliary_tasks(self) -> tuple[str, ...]:
        """The tasks trained with the main task, sorted."""
        return self.trial.auxiliary_tasks

    def by_seed(self, measure: Measure) -> dict[int, float]:
        """The measured numbers by seed."""
        return {member.trial.seed: measure(member) for member in self.members}

    def mean(
        self, measure: Measure, limits: tuple[float, float] = (-np.inf, np.inf)
    ) -> MeanInterval:
        """Mean over seeds with Student's 95 % t interval, which stays within the limits."""
        return t_interval(list(self.by_seed(measure).values()), limits=limits)

    def change(self, measure: Measure, alone: "SeedGroup | None", direction: str) -> MeanInterval:
        """How much better it is than one task alone as a fraction of that, paired by seed.

        All NaN without a partner; a seed that one side lacks is left out. Nobody loses more than
        all of a score, or gains more than all of an error.
        """
        theirs = {} if alone is None else alone.by_seed(measure)
        ours = self.by_seed(measure)
        seeds = [seed for seed in ours if seed in theirs]
        return t_interval(
            relative_change(
                [ours[seed] for seed in seeds],
                [theirs[seed] for seed in seeds],
                direction=direction,
            ),
            limits=(-1.0, np.inf) if direction == "maximize" else (-np.inf, 1.0),
        )


@dataclass(frozen=True, eq=False)
class Line:
    """Every task set that was trained in one way.

    Attributes:
        main_task: The task to protect.
        recipe: The configuration without tasks, weights, attacked tasks and seed.
        attacked_tasks: What the training attack raises the loss of; empty in natural training.
        weights: How loss weights were given, by key; empty where no auxiliary task was trained.
        alone: The main task alone under the same recipe, or None.
        groups: The others by their auxiliary tasks.
    """

    main_task: str
    recipe: Mapping[str, Any]
    attacked_tasks: tuple[str, ...]
    weights: Mapping[str, Any]
    alone: SeedGroup | None
    groups: Mapping[tuple[str, ...], SeedGroup]

    @property
    def all_groups(self) -> tuple[SeedGroup, ...]:
        """The main task alone, if it was trained, then the others."""
        return (*([] if self.alone is None else [self.alone]), *self.groups.values())


def seed_groups(scored: Iterable[Scored]) -> tuple[SeedGroup, ...]:
    """Finished trials by configuration, in the order in which configurations first occur.

    Of two trials with one configuration and one seed the first counts.
    """
    found: dict[str, dict[int, Scored]] = {}
    for member in scored:
        if member.trial.status == "complete":
            seeds = found.setdefault(_text(_without_seed(member.trial.config)), {})
            seeds.setdefault(member.trial.seed, member)
    return tuple(
        SeedGroup(tuple(seeds[seed] for seed in sorted(seeds))) for seeds in found.values()
    )


def lines(groups: Sequence[SeedGroup]) -> tuple[Line, ...]:
    """Task sets that were trained alike, each line with the main task alone, in order of size.

    A line differs from another in its main task, its recipe, the attacked tasks or the rule of its
    loss weights. The main task alone has no other tasks to attack or to weigh, so that it stands
    in every line of its recipe; it has a line of its own where nothing else shares its recipe.
    """
    alone = {_text(recipe_of(g)): g for g in groups if not g.auxiliary_tasks}
    found: dict[str, list[SeedGroup]] = {}
    for group in groups:
        if group.auxiliary_tasks:
            key = [_text(recipe_of(group)), _attacked(group), group.members[0].weights]
            found.setdefault(_text(key), []).append(group)
    several = [
        _line(members, alone.get(_text(recipe_of(members[0])))) for members in found.values()
    ]
    covered = {_text(line.recipe) for line in several}
    single = [
        Line(g.trial.main_task, recipe_of(g), (), {}, g, {})
        for text, g in alone.items()
        if text not in covered
    ]
    return tuple(sorted([*single, *several], key=_place))


def recipe_of(group: SeedGroup) -> dict[str, Any]:
    """The configuration of the main task alone, whatever its seed."""
    return _without_seed(single_task_config(group.trial.config))


def _line(members: Sequence[SeedGroup], alone: SeedGroup | None) -> Line:
    first = members[0]
    ordered = sorted(members, key=lambda g: (len(g.auxiliary_tasks), g.auxiliary_tasks))
    return Line(
        main_task=first.trial.main_task,
        recipe=recipe_of(first),
        attacked_tasks=_attacked(first),
        weights=first.members[0].weights or {},
        alone=alone,
        groups={group.auxiliary_tasks: group for group in ordered},
    )


def _attacked(group: SeedGroup) -> tuple[str, ...]:
    """What training attacks: ``main``, ``all``, or names; nothing in natural training."""
    if not group.trial.is_adversarial:
        return ()
    attacked = group.trial.config["adversary"].get("attacked_tasks", "main")
    return (attacked,) if isinstance(attacked, str) else tuple(attacked)


def _place(line: Line) -> tuple[str, bool, int, str]:
    """By main task, natural training first, attacks on the main task before others."""
    is_adversarial = line.recipe.get("adversary", {}).get("attack", "none") != "none"
    kinds = [(), ("main",), ("all",)]
    kind = kinds.index(line.attacked_tasks) if line.attacked_tasks in kinds else len(kinds)
    return line.main_task, is_adversarial, kind, _text([line.recipe, line.weights])


def _without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "seed"}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def relative_change(
    scores: ArrayLike, references: ArrayLike, *, direction: str
) -> NDArray[np.float64]:
    """How much better scores are than what they are compared with, as a fraction of the latter.

    ``(multi - single) / single`` for scores and ``(single - multi) / single`` for errors, so that
    more is always better.

    Args:
        scores: Scores ``(n,)``.
        references: What each of them is compared with, ``(n,)``.
        direction: ``maximize`` where more of the score is better, else ``minimize``.

    Returns:
        Shape ``(n,)``; NaN where the reference is not above 0.

    Example:
        >>> relative_change([0.3, 0.2], [0.2, 0.0], direction="maximize").round(2).tolist()
        [0.5, nan]
        >>> relative_change([0.3], [0.2], direction="minimize").round(2).tolist()
        [-0.5]
    """
    ours, theirs = (np.asarray(side, dtype=np.float64) for side in (scores, references))
    sign = 1.0 if direction == "maximize" else -1.0
    divisor = np.where(theirs > 0, theirs, np.nan)
    return np.asarray(sign * (ours - theirs) / divisor)
