"""Early stopping: asynchronous successive halving that spares the baselines."""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from taskgroup.search.study_config import SearchConfig
from taskgroup.study.objectives import StudyObjective

ROLE = "role"
"""Key under which a worker says whether its trial is a baseline."""


class SparingAsha(AsyncHyperBandScheduler):
    """Ray's ASHA, in which baselines neither stop nor count: they are references, run in full."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Stop a trial whose score at a rung is not among the best there."""
        if result.get(ROLE) == "baseline":
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Forget a trial that ended."""
        if result.get(ROLE) != "baseline":
            super().on_trial_complete(tune_controller, trial, result)


def build_scheduler(
    search: SearchConfig, objective: StudyObjective, *, max_epochs: int
) -> TrialScheduler:
    """The scheduler that a ``search:`` section names.

    Args:
        search: The section.
        objective: What rungs compare.
        max_epochs: Epochs of a full-length trial; one that reaches them is complete, not stopped.
    """
    if search.scheduler == "none":
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    return SparingAsha(
        time_attr="epoch",
        metric=objective.metric,
        mode="max" if objective.direction == "maximize" else "min",
        max_t=max_epochs,
        grace_period=min(search.grace_epochs, max_epochs),
        reduction_factor=search.reduction,
        stop_last_trials=False,
    )
