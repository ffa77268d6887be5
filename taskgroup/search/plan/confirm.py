"""The confirm stage: train the best and the baselines again, and score what no search saw.

Each task set is accompanied by the main task alone under the same recipe and the same seeds, so
that a difference between the two comes from the tasks and not from the learning rate.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from taskgroup.config import parse
from taskgroup.results.records import TrialResult
from taskgroup.search.plan.draw import Drawn
from taskgroup.search.plan.planning import plan_trial, with_epochs
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.space.stage_config import ConfirmConfig
from taskgroup.study.confirmation import single_task_config
from taskgroup.study.selection import rank_trials, study_limits
from taskgroup.training.config import TrialConfig

FIRST_SEED = 1000
"""Seeds of the confirm stage count from here, away from those that searches use."""


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
    searched = [record for record in records if record.role == "searched"]
    objectives = [objective.as_study for objective in space.objectives]
    limits = study_limits(records, objectives, space.max_clean_drop, stage="search")
    best = rank_trials(searched, objectives, limits=limits)
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
