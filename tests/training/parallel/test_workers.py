"""Whole trials by several workers (gloo, no Ray) against the same trials by one."""

import sys

import pytest
import ray.cloudpickle
import torch

from taskgroup.errors import DivergedError
from taskgroup.models.checkpoint import load_checkpoint
from taskgroup.training.fit import fit
from taskgroup.training.parallel.group import WorkerGroup

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

TOLERANCE = 1e-4
"""Largest difference of losses, scores and weights after two epochs: rounding (2e-5 was measured).

Signs (linf attacks, the first steps of Adam) turn rounding into differences, so these trials use
sgd and l2 attacks; JUMPY is for the one that does not.
"""
JUMPY = 0.05
L2 = {"attack": "pgd", "norm": "l2", "steps": 2, "epsilon": 0.25}
SGD = {"optimizer": "sgd", "learning_rate": 0.02, "clip_norm": 1.0}
VALIDATION = {"norm": "l2", "epsilon": 0.25}
TRIALS = {
    "natural": {"training": {**SGD, "augmentation": "crop_flip", "crop_size": 12}},
    "uneven": {  # 21 = 2 * 8 + 5 images; half of them have no label
        "data": {"train": 21, "validation": 11, "unlabelled": True},
        "training": {**SGD, "weighting": "uncertainty"},
        "auxiliary_tasks": ["depth", "classification"],
    },
    "clean share": {
        "adversary": {**L2, "clean_share": 0.3, "attacked_tasks": "all"},
        "auxiliary_tasks": ["depth"],
        "training": SGD,
    },
    "trades": {"adversary": {**L2, "method": "trades"}, "training": SGD},
    "frozen": {"model": {"frozen": True}, "training": SGD},
    "linf adamw": {
        "adversary": {"attack": "pgd", "steps": 2, "epsilon": 4 / 255},
        "validation": {"norm": "linf", "epsilon": 4 / 255},
    },
}
GHOSTS = {  # 3 workers: the last batch has 2 images, validation 4 of which one worker has none
    "data": {"train": 18, "validation": 4},
    "training": {**SGD, "batch_size": 16, "augmentation": "flip"},
    "adversary": L2,
}


def configure(trial, data=None, **changes):
    dataset = trial().dataset.model_copy(update=data or {})
    return trial(dataset=dataset, **{"validation": VALIDATION, **changes})


def trained(trial, recorder, path, group=None, **changes):
    """Rows and weights of a trial."""
    reporter = recorder()
    group = group or WorkerGroup.current()
    fit(configure(trial, **changes), reporter, checkpoint=path, group=group)
    return reporter.rows, load_checkpoint(path).weights if group.is_first else None


def assert_close(rows, others, tolerance):
    assert [row.epoch for row in rows] == [row.epoch for row in others]
    for row, other in zip(rows, others, strict=True):
        assert row.metrics.keys() == other.metrics.keys()
        for name, value in row.metrics.items():
            if name != "images_per_second":
                assert other.metrics[name] == pytest.approx(value, rel=tolerance, abs=tolerance)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def by_two(workers, make, recorder_class, folder):
    """Every trial, trained by two workers: their rows and the first one's weights."""

    def train_all():
        found = {
            name: trained(make, recorder_class, folder / f"{name} 2.pt", **changes)
            for name, changes in TRIALS.items()
        }
        reason = None
        try:
            fit(
                configure(make, data={"poisoned": True}, auxiliary_tasks=["depth"]),
                recorder_class(),
                group=WorkerGroup.current(),
            )
        except DivergedError as error:
            reason = str(error)
        half = recorder_class()
        fit(
            configure(make, training={**SGD, "epochs": 1, "schedule": "constant"}),
            half,
            checkpoint=folder / "half.pt",
            group=WorkerGroup.current(),
        )
        return found, reason, half.rows

    return workers(2, train_all)


@pytest.mark.parametrize("name", TRIALS)
def test_two_workers_with_half_the_batch_equal_one(trial, recorder, tmp_path, by_two, name):
    rows, weights = trained(trial, recorder, tmp_path / "one.pt", **TRIALS[name])
    found, found_weights = by_two[0][0][name]
    is_jumpy = name == "linf adamw"
    assert_close(rows, found, JUMPY if is_jumpy else TOLERANCE)
    for key, value in ({} if is_jumpy else weights).items():
        torch.testing.assert_close(found_weights[key], value, rtol=TOLERANCE, atol=TOLERANCE)


def test_only_the_first_worker_reports(by_two):
    assert all(rows == [] for rows, _ in by_two[1][0].values())
    assert all(len(rows) == 2 for rows, _ in by_two[0][0].values())


def test_divergence_is_raised_on_all_workers_alike(by_two):
    assert by_two[0][1] == by_two[1][1]
    assert "depth became NaN or infinite at step" in by_two[0][1]


def test_trial_of_two_workers_resumes_with_one(trial, recorder, tmp_path, by_two, folder):
    training = {**SGD, "schedule": "constant"}
    whole, rest = recorder(), recorder()
    fit(configure(trial, training=training), whole)
    fit(configure(trial, training=training), rest, resume=folder / "half.pt")
    assert_close(whole.rows, by_two[0][2] + rest.rows, TOLERANCE)


def test_three_workers_resume_the_trial_of_one_and_share_batches_smaller_than_they_are_many(
    trial, recorder, tmp_path, workers, make, recorder_class
):
    one_epoch = {**GHOSTS, "training": {**GHOSTS["training"], "schedule": "constant"}}
    whole, first = recorder(), recorder(stop_after=1)
    config = configure(trial, **one_epoch)
    fit(config, whole)
    path = tmp_path / "one.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(config, first, checkpoint=path)

    def resume():
        group, reporter = WorkerGroup.current(), recorder_class()
        # Only the first worker reads the file, which need not be where the others are.
        here = path if group.is_first else path.with_name("nowhere")
        fit(configure(make, **one_epoch), reporter, resume=here, group=group)
        return reporter.rows

    rows = workers(3, resume)
    assert_close(whole.rows, first.rows + rows[0], TOLERANCE)
    assert rows[1:] == [[], []]
