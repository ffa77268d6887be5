"""The last step of the confirm stage: attack what was trained with a suite, on the confirm split.

The validation attack of a search is cheap, and trials were chosen by it; a confirmation must stand
up to the attacks that ``taskgroup evaluate`` uses.
"""

from collections.abc import Mapping

from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import Progress
from taskgroup.evaluation.trials import evaluate_trials
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.space.stage_config import ConfirmConfig

SEED = 0


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
        SEED,
        attacked_tasks=tuple({trial.main_task for trial in trials}),
        split="confirm",
        workers=workers,
    )
    numbers = [trial.number for trial in trials]
    return evaluate_trials(run, numbers, options=options, progress=progress).problems
