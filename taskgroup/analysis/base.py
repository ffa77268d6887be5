"""What every chart shares: the study it reads, the shape it returns, the registry it stands in."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from taskgroup.config import parse_yaml
from taskgroup.errors import ConfigError
from taskgroup.registry import Registry
from taskgroup.results.record_files import DIMENSIONS, TASK_GRADIENTS, TRANSFERS
from taskgroup.results.records import (
    DimensionRow,
    EvaluationRow,
    Panel,
    TaskGradientRow,
    TransferRow,
    TrialResult,
)
from taskgroup.results.run_directory import SPACE_FILE, RunDirectory
from taskgroup.study.confirmation import SuiteScores, suite_scores
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.selection import (
    Limit,
    infeasible_trials,
    max_clean_drop,
    select_best,
    study_limits,
)


@dataclass(frozen=True)
class StudyData:
    """One study, read once: what charts and tables are made from.

    Attributes:
        name: Name of the run directory.
        path: Where it lies, as the reader wrote it.
        main_task: The task to protect.
        objectives: What the study optimised; never empty.
        trials: Every trial of the search itself, by number: what charts compare.
        dimensions: Each trial's latest curves against the number of outputs or tasks.
        task_gradients: Each trial's latest norms and angles of task gradients.
        staged: Trials of the proxy and confirm stages, whose scores cost something else.
        evaluations: The rows of each trial's latest evaluation.
        panels: The pictures of each trial's latest evaluation.
        transfers: The latest transfer matrix.
        space: The search space as plain data.
        space_text: The same as it was written.
    """

    name: str
    path: str
    main_task: str
    objectives: tuple[StudyObjective, ...]
    trials: tuple[TrialResult, ...] = ()
    evaluations: tuple[EvaluationRow, ...] = ()
    panels: tuple[Panel, ...] = ()
    transfers: tuple[TransferRow, ...] = ()
    dimensions: tuple[DimensionRow, ...] = ()
    task_gradients: tuple[TaskGradientRow, ...] = ()
    staged: tuple[TrialResult, ...] = ()
    space: Mapping[str, Any] = field(default_factory=dict)
    space_text: str = ""

    @property
    def suite(self) -> SuiteScores:
        """What the suite of the confirm stage left of its trials."""
        return suite_scores(self.staged, self.evaluations)

    @property
    def complete(self) -> tuple[TrialResult, ...]:
        """The trials that ran to their end, by number."""
        return tuple(trial for trial in self.trials if trial.status == "complete")

    @property
    def best(self) -> TrialResult | None:
        """The trial that stands for the study, or None while none is complete and feasible."""
        return select_best(self.trials, self.objectives, limits=self.limits)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The study's constraint, once the baseline that it refers to is complete."""
        return study_limits(self.trials, self.objectives, max_clean_drop(self.space))

    @property
    def infeasible(self) -> list[TrialResult]:
        """Complete trials that gave up more than the constraint allows."""
        return infeasible_trials(self.trials, self.limits)

    @property
    def robust(self) -> StudyObjective:
        """The main task's score under attack: the first objective that is one."""
        return self._main_score("robust")

    @property
    def clean(self) -> StudyObjective:
        """The main task's score without attack, by the metric of the robust one."""
        return self._main_score("clean")

    def _main_score(self, kind: str) -> StudyObjective:
        """The objective of that kind, or its like on the first objective's task and score."""
        own = [o for o in self.objectives if f"/{kind}/" in o.metric]
        if own:
            return own[0]
        first = self.objectives[0]
        task, _, score = first.metric.split("/")
        return StudyObjective(f"{task}/{kind}/{score}", first.direction)


def read_study(run: RunDirectory) -> StudyData:
    """Read everything that charts and tables need from a run directory.

    Raises:
        DataError: A record is torn, foreign, or of another schema version.
        ConfigError: ``space.yaml`` names no main task or no objectives.
    """
    text = run.space_text()
    source = run.place_of(SPACE_FILE)
    space = parse_yaml(text, source=source)
    trials = run.trials()
    if not isinstance(space.get("main_task"), str):
        raise ConfigError(f"{source} must name a main_task, got {space.get('main_task')!r}; add it")
    return StudyData(
        name=run.name,
        path=run.place,
        main_task=space["main_task"],
        objectives=_objectives(space.get("objectives"), source=source),
        trials=tuple(trial for trial in trials if trial.stage == "search"),
        staged=tuple(trial for trial in trials if trial.stage != "search"),
        evaluations=tuple(run.evaluations()),
        panels=tuple(run.panels()),
        transfers=tuple(TRANSFERS.latest(run.storage)),
        dimensions=tuple(DIMENSIONS.latest(run.storage)),
        task_gradients=tuple(TASK_GRADIENTS.latest(run.storage)),
        space=space,
        space_text=text,
    )


def _objectives(entries: object, *, source: str) -> tuple[StudyObjective, ...]:
    """Read ``[{maximize: task/robust/score}, ...]``."""
    found = []
    for entry in entries if isinstance(entries, list) else ():
        pairs = list(entry.items()) if isinstance(entry, Mapping) else []
        for direction, metric in pairs:
            if direction in ("maximize", "minimize") and str(metric).count("/") == 2:
                found.append(StudyObjective(str(metric), direction))
    if not found:
        raise ConfigError(
            f"{source} must list objectives such as {{maximize: segmentation/robust/miou}}, "
            f"got {json.dumps(entries, default=str)}; add them"
        )
    return tuple(found)


@dataclass(frozen=True)
class Chart:
    """A figure and the words around it.

    Attributes:
        title: Heading, a few words.
        caption: What the reader sees and how to read it; what to run where there is no figure.
        figure: The figure, or None while there is nothing to draw.
    """

    title: str
    caption: str
    figure: go.Figure | None


CHARTS = Registry[Callable[[StudyData], Chart]]("chart")
