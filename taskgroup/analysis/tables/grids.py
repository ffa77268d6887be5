"""Grid studies as tables see them: lines of task sets, what they scored, how lines are named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from taskgroup.config import flat
from taskgroup.errors import DataError
from taskgroup.results.records import EvaluationRow
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.seed_groups import (
    WEIGHTS,
    Line,
    Measure,
    Scored,
    SeedGroup,
    lines,
    seed_groups,
)
from taskgroup.study.study import Study
from taskgroup.wording import argument, budget_text, listed, metric_parts, plural, setting_text

VALIDATION = "validation"
WORST_CASE = "worst_case"
CLEAN = "clean"
NAN = float("nan")


@dataclass(frozen=True)
class Grid:
    """One or several studies, read as one grid.

    Attributes:
        studies: The studies; each has its own main task or its own recipes.
        split: ``test`` or ``confirm`` for scores of ``taskgroup evaluate``, ``validation`` for
            those that the search measured.
    """

    studies: tuple[Study, ...]
    split: str

    @cached_property
    def groups(self) -> tuple[SeedGroup, ...]:
        """Every configuration that was trained to its end."""
        return seed_groups(_scored(self.studies, self.split))

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Task sets that were trained alike."""
        return lines(self.groups)

    @property
    def task_sets(self) -> tuple[tuple[str, ...], ...]:
        """Every set of auxiliary tasks, small ones first."""
        found = {tasks for line in self.lines for tasks in line.groups}
        return tuple(sorted(found, key=lambda tasks: (len(tasks), tasks)))

    @property
    def place(self) -> str:
        """The first run directory, for commands."""
        return self.studies[0].place

    def robust(self, main_task: str) -> StudyObjective:
        """The robust score of a main task, as the first study of it names it."""
        return next(s.robust for s in self.studies if s.main_task == main_task)

    def score_name(self, main_task: str) -> str:
        """Name of the main task's score, ``miou``."""
        return metric_parts(self.robust(main_task).metric)[2]

    def measure(self, main_task: str, kind: str) -> Measure:
        """The clean or the robust score of a trial; robust is the worst case of an evaluation.

        NaN where that only bounds the score.
        """
        if self.split == VALIDATION:
            return validation_measure(self.robust(main_task), kind)
        condition = WORST_CASE if kind == "robust" else CLEAN
        score = self.score_name(main_task)

        def read(member: Scored) -> float:
            found = find_row(member, condition, score)
            return NAN if found is None or found.is_bound else found.score

        return read

    def title(self, line: Line) -> str:
        """How a line was trained, in words: what it has in common with no other line."""
        parts = [budget_text(line.recipe.get("adversary", {}))]
        parts = ["natural"] if parts == ["no attack"] else parts
        if line.attacked_tasks:
            parts.append(f"on {_attacked_text(line)}")
        differing = self._differing(line.main_task)
        own = flat(line.recipe)
        parts[-1] += "".join(f", {setting_text(key, own.get(key))}" for key in differing)
        weights = [found.weights for found in self.lines if found.main_task == line.main_task]
        if line.weights and any(other and other != line.weights for other in weights):
            parts[-1] += "".join(f", {setting_text(k, v)}" for k, v in line.weights.items())
        return " ".join(parts)

    def _differing(self, main_task: str) -> list[str]:
        """Keys of the recipe in which lines of one main task differ, but for the attack's own."""
        own = [flat(line.recipe) for line in self.lines if line.main_task == main_task]
        keys = dict.fromkeys(key for recipe in own for key in recipe)
        return [
            key
            for key in keys
            if not key.startswith("adversary.")
            and any(recipe.get(key) != own[0].get(key) for recipe in own)
        ]


def open_grid(studies: Sequence[Study], split: str | None = None) -> Grid:
    """Read studies as one grid.

    Args:
        studies: At least one.
        split: ``test``, ``confirm`` or ``validation``; None is ``test`` where anything was
            evaluated there, else ``validation``.

    Raises:
        DataError: No trial is finished.
    """
    evaluated = any(row.split == "test" for study in studies for row in study.evaluations)
    grid = Grid(tuple(studies), split or ("test" if evaluated else VALIDATION))
    if not grid.groups:
        total = sum(len(study.searched) for study in studies)
        raise DataError(
            f"{_places(studies)} must hold a finished trial, found none among {total}; "
            f"{studies[0].advice}"
        )
    return grid


def check_alone(grid: Grid) -> None:
    """Refuse a grid without one task set beside the main task alone.

    Raises:
        DataError: Nothing can be compared; the message says what to run.
    """
    if any(line.alone is not None and line.groups for line in grid.lines):
        return
    several = [line for line in grid.lines if line.groups]
    if not several:
        raise DataError(
            f"{_places(grid.studies)} must hold a task set to compare with the main task alone, "
            "found none; search a space with auxiliary_tasks: {subset: [...]}"
        )
    first = several[0]
    raise DataError(
        f"{_places(grid.studies)} must hold {first.main_task} alone under the recipe of a task "
        f"set ({grid.title(first)}), found none; search again with auxiliary_tasks: "
        "{subset: [...]} without min_size and sampler grid"
    )


def check_evaluated(grid: Grid) -> None:
    """Refuse a grid of which nothing was evaluated on its split.

    Raises:
        DataError: The message says what to run.
    """
    if not any(member.rows for group in grid.groups for member in group.members):
        raise DataError(
            f"{_places(grid.studies)} must hold evaluations on the {grid.split} split, found none; "
            f"run: taskgroup evaluate all --run {argument(grid.place)}"
        )


def unevaluated(grid: Grid) -> list[str]:
    """A note where some trials of the grid were not evaluated; empty where all were."""
    members = [member for group in grid.groups for member in group.members]
    missing = [member for member in members if not member.rows]
    if not missing or grid.split == VALIDATION:
        return []
    first = missing[0]
    return [
        f"left out without an evaluation: {len(missing)} of {len(members)} "
        f"{plural(len(members), 'trial')}; "
        f"run: taskgroup evaluate all --run {argument(first.run)}"
    ]


def validation_measure(robust: StudyObjective, kind: str) -> Measure:
    """The clean or robust score that the search measured after the last epoch."""
    metric = robust.metric if kind == "robust" else robust.metric.replace("/robust/", "/clean/")
    objective = StudyObjective(metric, robust.direction)
    return lambda member: objective.value(member.trial)


def find_row(member: Scored, condition: str, score: str) -> EvaluationRow | None:
    """The row of the main task under a condition; of several radii the one of the run comes first.

    A suite lists its own ball before others.
    """
    task = member.trial.main_task
    for row in member.rows:
        if (row.task, row.condition, row.score_name) == (task, condition, score):
            return row
    return None


def _scored(studies: Sequence[Study], split: str) -> list[Scored]:
    """Every trial of the searches with its rows on a split."""
    found = []
    for study in studies:
        rows: dict[int, list[EvaluationRow]] = {}
        for row in study.evaluations:
            if row.split == split:
                rows.setdefault(row.trial, []).append(row)
        for trial in study.searched:
            weights = _weights(study.space, trial.parameters) if trial.auxiliary_tasks else None
            found.append(Scored(trial, tuple(rows.get(trial.number, ())), weights, study.place))
    return found


def _weights(space: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """How a trial's loss weights were given: what was drawn, else what the space says."""
    drawn = {key: value for key, value in parameters.items() if key.startswith(f"{WEIGHTS}.")}
    return drawn or flat({WEIGHTS: space.get(WEIGHTS, 1.0)})


def _attacked_text(line: Line) -> str:
    if line.attacked_tasks in (("main",), (line.main_task,)):
        return line.main_task
    return "all tasks" if line.attacked_tasks == ("all",) else listed(line.attacked_tasks)


def _places(studies: Sequence[Study]) -> str:
    return ", ".join(study.place for study in studies)
