"""The confirm stage: train the best and the baselines again, and score what no search saw.

Each task set is accompanied by the main task alone under the same recipe and the same seeds, so
that a difference between the two comes from the tasks and not from the learning rate. Last, what
was trained is attacked with a suite on the confirm split: the validation attack of a search is
cheap, and trials were chosen by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from taskgroup.config import parse
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import Progress
from taskgroup.evaluation.trials import evaluate_trials
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.plan.draw import Drawn
from taskgroup.search.plan.planning import plan_trial, with_epochs
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.space.study_config import ConfirmConfig
from taskgroup.study.confirmation import single_task_config
from taskgroup.study.selection import rank_searched, study_limits
from taskgroup.training.config import TrialConfig

FIRST_SEED = 1000
"""Seeds of the confirm stage count from here, away from those that searches use."""
SUITE_SEED = 0
"""Seed of the suite that attacks what was trained."""


def plan_confirmations(
    space: SearchSpace, confirm: ConfirmConfig, records: Sequence[TrialResult]
) -> list[TrialResult]:
    """Every baseline, the best searched trials and their partners, seed by seed, not numbered yet.

    Args:
        space: What was searched.
        confirm: How many are confirmed, with how many seeds.
        records: Trials of the search itself, all ended.
    """
    baselines = [record for record in records if record.role == "baseline"]
    limits = study_limits(records, space.objectives, space.max_clean_drop, stage="search")
    best = rank_searched(records, space.objectives, limits=limits)
    chosen = [*baselines, *best[: confirm.top]]
    partners = [partner_of(record) for record in chosen if record.auxiliary_tasks]
    return [
        _confirmation(record, confirm, FIRST_SEED + index)
        for index in range(confirm.seeds)
        for record in (*chosen, *partners)
    ]


def partner_of(record: TrialResult) -> TrialResult:
    """The main task alone under a trial's recipe, as a record of the same number."""
    parameters = {
        key: value
        for key, value in record.parameters.items()
        if not key.startswith(("auxiliary_tasks", "loss_weights"))
    }
    return replace(
        record,
        label=f"main only, recipe of trial {record.number}",
        role="baseline",
        config=single_task_config(record.config),
        parameters=parameters,
    )


def _confirmation(record: TrialResult, confirm: ConfirmConfig, seed: int) -> TrialResult:
    """A trial at full length with another seed, scored once, on the whole confirm split."""
    config = parse(TrialConfig, confirm_config(record.config, confirm, seed))
    drawn = Drawn(config, record.parameters)
    return plan_trial(
        record.number,
        drawn,
        label=record.label,
        role=record.role,
        stage="confirm",
        parent=record.number,
    )


def confirm_config(config: Any, confirm: ConfirmConfig, seed: int) -> dict[str, Any]:
    """The configuration of a confirmation, as plain data.

    Args:
        config: The configuration that is confirmed.
        confirm: Epochs, where they differ.
        seed: Seed of weights, order and attacks.
    """
    epochs = confirm.epochs or config["training"]["epochs"]
    scored_once = {"split": "confirm", "images": None, "every": epochs}
    return {
        **config,
        "seed": seed,
        "training": with_epochs(config["training"], epochs),
        "validation": {**config["validation"], **scored_once},
    }


def score_confirmations(
    run: RunDirectory,
    confirm: ConfirmConfig,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> Mapping[int, str]:
    """Attack every complete confirmation that was not attacked before, seed by seed.

    Args:
        run: The run directory.
        confirm: Which suite, on how many images.
        workers: Pieces of work at a time in the Ray cluster that is connected; 1 is this process.
        progress: Told after every piece of work.

    Returns:
        Why trials could not be scored, by number.

    Raises:
        ResourceError: The run directory cannot be written, or a worker died again and again.
    """
    if confirm.suite == "none":
        return {}
    trials = [t for t in run.trials() if (t.stage, t.status) == ("confirm", "complete")]
    options = EvaluationOptions(
        confirm.suite,
        confirm.images,
        SUITE_SEED,
        attacked_tasks=tuple({trial.main_task for trial in trials}),
        split="confirm",
        workers=workers,
    )
    numbers = [trial.number for trial in trials]
    return evaluate_trials(run, numbers, options=options, progress=progress).problems
