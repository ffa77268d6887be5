"""The end of a search: do gradients describe the networks that its answer is about?"""

import math

from taskgroup.data.loading import open_dataset
from taskgroup.errors import TaskgroupError
from taskgroup.evaluation.loading import load_trained
from taskgroup.evaluation.objective.network import evaluation_device, fast_precision
from taskgroup.evaluation.shards.shard import images_per_shard
from taskgroup.evaluation.verdict.gradient_check import check_gradients, checked_images
from taskgroup.results.record_files import GRADIENT_CHECKS
from taskgroup.results.records import GradientCheckRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.study.study import Study


def check_answer(run: RunDirectory, study: Study) -> None:
    """Check winner and baselines on validation images, those that were not checked before.

    What cannot be checked, because its checkpoint or its data are gone, says so in its record.

    Raises:
        ResourceError: The run directory cannot be written.
    """
    if study.best is None:
        return
    known = {row.trial for row in study.gradient_checks}
    answered = {trial.number: trial for trial in (study.best, *study.baselines)}
    todo = [t for t in answered.values() if t.number not in known and t.checkpoint is not None]
    if todo:
        GRADIENT_CHECKS.write(run.storage, [_check(run, trial) for trial in todo])


def _check(run: RunDirectory, trial: TrialResult) -> GradientCheckRow:
    place = str(run.place_of(str(trial.checkpoint)))
    try:
        network, device = load_trained(place), evaluation_device()
        images = open_dataset(network.dataset, "validation", network.task_set)
        pixels = images[0].images[0, 0].numel()
        batch = images.batch(range(min(checked_images(pixels), len(images)))).to(device)
        found = check_gradients(
            network.model.to(device),
            network.tasks,
            batch,
            main_task=network.main_task,
            threat=network.threat,
            at_once=images_per_shard(pixels, device, channels=network.main.channels),
            precision=fast_precision(device),
        )
    except TaskgroupError as error:
        return GradientCheckRow(trial.number, f"gradients not checked: {error}", False, None, 0)
    share = None if math.isnan(found.share) else found.share
    return GradientCheckRow(trial.number, found.text, found.is_failed, share, len(batch))
