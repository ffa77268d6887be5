"""``validation.attack``: every registered attack stands behind a trial's robust scores."""

import math

import pytest

from taskgroup.attacks.base import ATTACKS
from taskgroup.attacks.compatibility import NEEDS
from taskgroup.data.loading import open_dataset
from taskgroup.draws import derive_seed
from taskgroup.evaluation.loading import load_trained
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.scoring import score_model
from taskgroup.training.config import TrialConfig, ValidationConfig
from taskgroup.training.fit import fit

EPSILON = 8 / 255
IMAGES = 16
MAIN_TASKS = {"class_map": "segmentation", "class": "classification", "numbers": "depth"}


class Heard:
    """Keeps the rows of a training."""

    def __init__(self):
        self.rows = []

    def started(self, output_dimension):
        pass

    def epoch(self, row):
        self.rows.append(row)


def trial(main_task="segmentation", **validation):
    """One epoch on a handful of scenes."""
    values = {
        "dataset": {"name": "scenes", "image_size": 32, "train": 32, "validation": IMAGES},
        "model": {"backbone": "resnet_small", "width": 4, "decoder_width": 4},
        "main_task": main_task,
        "training": {"epochs": 1, "batch_size": 16, "learning_rate": 1e-2},
        "validation": validation,
    }
    return TrialConfig.model_validate(values)


def trained_row(config, checkpoint):
    heard = Heard()
    fit(config, heard, checkpoint=checkpoint)
    (row,) = heard.rows
    return row


def score_again(config, checkpoint, attack):
    """The main task's scores under an attack, by a second way."""
    network = load_trained(checkpoint)
    dataset = open_dataset(config.dataset, "validation", [config.main_task])
    return score_model(
        network.model,
        network.tasks,
        [dataset.batch(range(IMAGES))],
        perturbation=NetworkAttack(attack, config.validation, (config.main_task,), is_joined=True),
        seed=derive_seed(config.seed, "validation"),
    ).values[config.main_task]


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_the_robust_score_is_that_of_the_named_attack(attack, tmp_path):
    main_task = MAIN_TASKS[NEEDS.get(attack, "class_map")]
    config = trial(main_task, attack=attack, epsilon=EPSILON, steps=3)
    row = trained_row(config, tmp_path / "trial.pt")
    again = score_again(config, tmp_path / "trial.pt", attack)
    for name, value in again.items():
        assert math.isfinite(value)
        assert row.metrics[f"{main_task}/robust/{name}"] == pytest.approx(value, abs=1e-6)
    assert any(row.metrics[f"{main_task}/clean/{name}"] != again[name] for name in again)


@pytest.mark.parametrize("main_task", ["segmentation", "depth", "normals"])
def test_by_default_dense_tasks_meet_a_few_steps_of_apgd(main_task, tmp_path):
    """Cheap enough for every epoch: ten steps from one random start."""
    default = ValidationConfig()
    assert (default.attack, default.steps, default.restarts) == ("apgd", 10, 1)
    assert (default.norm, default.epsilon, default.random_start) == ("linf", 4 / 255, True)
    assert (default.every, default.keep, default.split) == (1, "best", "validation")
    config = trial(main_task)
    assert config.validation == default
    row = trained_row(config, tmp_path / "trial.pt")
    again = score_again(config, tmp_path / "trial.pt", "apgd")
    found = {name: row.metrics[f"{main_task}/robust/{name}"] for name in again}
    assert found == pytest.approx(again, abs=1e-6)
