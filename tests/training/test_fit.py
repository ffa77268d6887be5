"""Whole trials on a miniature data set."""

import math
from dataclasses import replace

import pytest
import torch

from taskgroup.data.loading import open_dataset
from taskgroup.errors import CheckpointError, DataError, DivergedError
from taskgroup.models.checkpoint import Checkpoint, load_checkpoint, rebuild, save_checkpoint
from taskgroup.training.checks import build_tasks
from taskgroup.training.epoch import check_finite, num_images
from taskgroup.training.fit import fit
from taskgroup.training.state import read_rows
from taskgroup.training.steps.base import STEPS
from taskgroup.training.steps.joint import JointStep
from taskgroup.training.validation import clean_scores, robust_scores

FOUR_EPOCHS = {"epochs": 4, "schedule": "one_cycle", "warmup_epochs": 0.5, "clip_norm": 1.0}
PGD = {"attack": "pgd", "steps": 2, "epsilon": 8 / 255}
METHODS = {
    "natural": {"attack": "none"},
    "pgd": {**PGD, "attacked_tasks": "all", "clean_share": 0.25},
    "fgsm": {"attack": "fgsm", "epsilon": 8 / 255},
    "trades": {**PGD, "method": "trades"},
}


def numbers(row):
    """A row without what the clock says."""
    return {name: value for name, value in row.metrics.items() if name != "images_per_second"}


@pytest.mark.parametrize(
    ("method", "optimizer"),
    [("natural", "sgd"), ("pgd", "adamw"), ("fgsm", "sgd"), ("trades", "adamw")],
)
def test_two_plus_two_epochs_equal_four(trial, recorder, tmp_path, method, optimizer):
    config = trial(
        auxiliary_tasks=["depth"],
        adversary=METHODS[method],
        training={
            **FOUR_EPOCHS,
            "optimizer": optimizer,
            "weighting": "uncertainty",
            "augmentation": "crop_flip",
        },
    )
    whole, first, second = recorder(), recorder(stop_after=2), recorder()
    fit(config, whole, checkpoint=tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        fit(config, first, checkpoint=tmp_path / "half.pt")
    torch.rand(3)  # the global state has no say
    fit(config, second, checkpoint=tmp_path / "half.pt", resume=tmp_path / "half.pt")
    assert [row.epoch for row in first.rows + second.rows] == [1, 2, 3, 4]
    assert [numbers(row) for row in first.rows + second.rows] == [numbers(r) for r in whole.rows]
    assert_same_checkpoint(tmp_path / "whole.pt", tmp_path / "half.pt")
    assert read_rows(tmp_path / "half.pt") == (*first.rows, *second.rows)


class FadingStep(JointStep):
    """Darkens its images batch by batch, so that it must remember how many it has seen."""

    seen = 0

    def __call__(self, batch, draws):
        self.seen += 1
        return super().__call__(replace(batch, images=batch.images * 0.9**self.seen), draws)

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state.get("seen", 0)


def test_what_a_step_remembers_is_resumed(trial, recorder, tmp_path):
    config = trial(training={**FOUR_EPOCHS, "step": "fading"})
    whole, first, second, forgetful = recorder(), recorder(stop_after=2), recorder(), recorder()
    half, without = tmp_path / "half.pt", tmp_path / "without.pt"
    with STEPS.scratch():
        STEPS.register("fading")(FadingStep)
        fit(config, whole)
        with pytest.raises(KeyboardInterrupt):
            fit(config, first, checkpoint=half)
        stored = load_checkpoint(half)
        assert set(stored.training["step_state"]) == {"seen"}
        fresh = {key: part for key, part in stored.training.items() if key != "step_state"}
        save_checkpoint(replace(stored, training=fresh), without)
        fit(config, second, resume=half)
        fit(config, forgetful, resume=without)
    assert [numbers(row) for row in first.rows + second.rows] == [numbers(r) for r in whole.rows]
    assert numbers(forgetful.rows[0]) != numbers(second.rows[0])


def assert_same_checkpoint(first, second):
    """Weights, optimiser and weighting agree bit for bit."""
    one, other = load_checkpoint(first), load_checkpoint(second)
    assert one.epoch == other.epoch == 4
    assert_same(one.weights, other.weights)
    assert_same(one.training["weighting"], other.training["weighting"])
    assert_same(one.training["optimizer"]["state"], other.training["optimizer"]["state"])


def assert_same(one, other):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    else:
        assert one == other


@pytest.mark.parametrize("method", METHODS)
def test_seed_fixes_everything(trial, recorder, method):
    rows = []
    for seed, noise in ((0, 1), (0, 2), (5, 1)):
        torch.manual_seed(noise)
        reporter = recorder()
        fit(trial(adversary=METHODS[method], seed=seed), reporter)
        rows.append([numbers(row) for row in reporter.rows])
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]


def test_global_random_state_is_left_alone(trial, recorder):
    before = torch.get_rng_state()
    fit(trial(adversary=PGD), recorder())
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_say_what_the_records_promise(trial, recorder):
    reporter = recorder()
    config = trial(
        auxiliary_tasks=["depth", "classification"],
        validation={"every": 2},
        training={"epochs": 3},
    )
    fit(config, reporter)
    assert reporter.dimension == (4 + 1) * 16 * 16 + 3
    always = {
        "segmentation/train/loss",
        "depth/train/loss",
        "classification/train/loss",
        "segmentation/clean/miou",
        "depth/clean/abs_rel",
        "classification/clean/accuracy",
        "learning_rate",
        "images_per_second",
    }
    for row in reporter.rows:
        assert always <= set(row.metrics)
        assert all(math.isfinite(value) for value in row.metrics.values())
        assert row.seconds > 0
        assert row.peak_memory > 10**7
    robust = [sorted(n for n in row.metrics if "/robust/" in n) for row in reporter.rows]
    assert robust[0] == []
    assert robust[1] == robust[2]
    assert "segmentation/robust/miou" in robust[1]
    assert all(name.startswith("segmentation/robust/") for name in robust[1])


def test_training_learns_and_adversarial_training_protects(trial, recorder):
    accuracy = {}
    for name, adversary in {"natural": {}, "pgd": {**PGD, "epsilon": 0.1}}.items():
        reporter = recorder()
        config = trial(
            dataset=trial().dataset.model_copy(update={"train": 96}),
            main_task="classification",
            adversary=adversary,
            training={"epochs": 6, "learning_rate": 0.01, "schedule": "one_cycle"},
            validation={"every": 6, "epsilon": 0.1, "steps": 5},
        )
        fit(config, reporter)
        accuracy[name] = [
            reporter.rows[-1].metrics[f"classification/{kind}/accuracy"]
            for kind in ("clean", "robust")
        ]
    assert accuracy["natural"][0] >= 0.9
    assert accuracy["pgd"][1] >= accuracy["natural"][1] + 0.3


def test_robust_score_is_measured_under_the_validation_attack(trial, recorder):
    harmless, harmful = recorder(), recorder()
    fit(trial(validation={"epsilon": 0.0}, training={"epochs": 6}), harmless)
    fit(trial(validation={"epsilon": 0.5}, training={"epochs": 6}), harmful)
    last = harmless.rows[-1].metrics
    assert last["segmentation/robust/accuracy"] == last["segmentation/clean/accuracy"]
    assert (
        harmful.rows[-1].metrics["segmentation/robust/accuracy"]
        < 0.9 * (last["segmentation/clean/accuracy"])
    )


def test_validation_images_limit_what_is_scored(trial, recorder):
    few, same = recorder(), recorder()
    fit(trial(validation={"images": 4}), few)
    fit(trial(dataset=trial().dataset.model_copy(update={"validation": 4})), same)
    assert few.rows[0].metrics["segmentation/clean/miou"] != pytest.approx(0, abs=1e-9)
    assert few.rows[0].metrics.keys() == same.rows[0].metrics.keys()


def test_only_the_named_split_is_scored(trial, recorder, opened):
    rows = {}
    for split in ("validation", "confirm"):
        opened.clear()
        reporter = recorder()
        data = trial().dataset.model_copy(update={"confirm": 12, "seed": 3})
        fit(trial(dataset=data, validation={"split": split}), reporter)
        assert opened in (["train", split], [split])  # opened once per process
        rows[split] = [numbers(row) for row in reporter.rows]
    losses = [[row["segmentation/train/loss"] for row in rows[split]] for split in rows]
    assert losses[0] == losses[1]
    assert rows["validation"] != rows["confirm"]


def test_confirm_split_is_scored_once_at_the_end(trial, recorder):
    reporter = recorder()
    fit(trial(validation={"split": "confirm"}, training={"epochs": 3}), reporter)
    measured = [
        {name for name in row.metrics if "/clean/" in name or "/robust/" in name}
        for row in reporter.rows
    ]
    assert measured[:2] == [set(), set()], "nothing can be chosen by it"
    assert {"segmentation/clean/miou", "segmentation/robust/miou"} <= measured[2]


def test_checkpoint_rebuilds_the_trained_network(trial, recorder, tmp_path):
    path = tmp_path / "one.pt"
    config = trial(auxiliary_tasks=["depth"])
    fit(config, recorder(), checkpoint=path)
    checkpoint = load_checkpoint(path)
    model = rebuild(checkpoint)
    assert model.task_names == ("segmentation", "depth")
    assert checkpoint.config["main_task"] == "segmentation"
    for name, value in model.state_dict().items():
        assert torch.equal(value, checkpoint.weights[name])


def test_frozen_backbone_stays_bit_identical(trial, recorder, tmp_path):
    for epochs in (1, 2):
        config = trial(model={"frozen": True}, training={"epochs": epochs}, adversary=PGD)
        fit(config, recorder(), checkpoint=tmp_path / f"{epochs}.pt")
    one, two = (load_checkpoint(tmp_path / f"{n}.pt").weights for n in (1, 2))
    frozen = [name for name in one if name.startswith("backbone")]
    assert frozen
    assert all(torch.equal(one[name], two[name]) for name in frozen)
    assert any(not torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty"])
def test_images_without_labels_do_no_harm(trial, recorder, weighting):
    reporter = recorder()
    data = trial().dataset.model_copy(update={"unlabelled": True})
    training = {"weighting": weighting, "batch_size": 2, "epochs": 1}
    fit(trial(dataset=data, auxiliary_tasks=["depth"], training=training), reporter)
    assert all(math.isfinite(value) for value in reporter.rows[0].metrics.values())


def test_image_left_alone_in_the_last_batch_sits_out(trial, recorder):
    reporter = recorder()
    data = trial().dataset.model_copy(update={"train": 17})
    fit(trial(dataset=data), reporter)
    assert [row.epoch for row in reporter.rows] == [1, 2]
    assert [num_images(17, size) for size in (1, 8, 16, 17, 32)] == [17, 16, 16, 17, 17]
    assert num_images(1, 8) == 1


def test_bfloat16_trains_and_scores(trial, recorder):
    reporter = recorder()
    fit(trial(training={"precision": "bfloat16"}, adversary=PGD), reporter)
    assert math.isfinite(reporter.rows[-1].metrics["segmentation/train/loss"])


def test_finished_trial_has_nothing_to_resume(trial, recorder, tmp_path, opened):
    path = tmp_path / "done.pt"
    fit(trial(), recorder(), checkpoint=path)
    opened.clear()
    reporter = recorder()
    fit(trial(), reporter, resume=path)
    assert reporter.rows == []
    assert reporter.dimension is None
    assert opened == []


def test_resume_refuses_another_trial(trial, recorder, tmp_path):
    path = tmp_path / "one.pt"
    fit(trial(), recorder(), checkpoint=path)
    other = trial(training={"learning_rate": 0.5, "epochs": 3})
    with pytest.raises(CheckpointError, match=r"training\.learning_rate is 0\.001 instead of 0\.5"):
        fit(other, recorder(), resume=path)


def test_resume_may_train_longer(trial, recorder, tmp_path):
    path = tmp_path / "one.pt"
    fit(trial(), recorder(), checkpoint=path)
    reporter = recorder()
    fit(trial(training={"epochs": 3}), reporter, resume=path)
    assert [row.epoch for row in reporter.rows] == [3]


def edited(path, change):
    """Write a checkpoint anew whose configuration was changed in place."""
    old = load_checkpoint(path)
    config = dict(old.config) | {"training": dict(old.config["training"])}
    change(config)
    save_checkpoint(Checkpoint(config, old.tasks, old.weights, old.epoch, old.training), path)


def test_a_checkpoint_without_a_key_that_has_a_default_today_is_resumed(trial, recorder, tmp_path):
    path = tmp_path / "old.pt"
    fit(trial(), recorder(), checkpoint=path)
    edited(path, lambda config: config["training"].pop("poly_power"))
    reporter = recorder()
    fit(trial(training={"epochs": 3}), reporter, resume=path)
    assert [row.epoch for row in reporter.rows] == [3]
    other = trial(training={"epochs": 3, "poly_power": 0.5})
    with pytest.raises(CheckpointError, match=r"its training\.poly_power is 0\.9 instead of 0\.5"):
        fit(other, recorder(), resume=path)


ODD = {
    "no optimizer": lambda training: {**training, "optimizer": None},
    "other groups": lambda training: {**training, "optimizer": {"state": {}, "param_groups": []}},
    "a list": lambda training: {**training, "weighting": [1]},
    "foreign weighting": lambda training: {**training, "weighting": {"mars": torch.ones(1)}},
    "rows of numbers": lambda training: {**training, "rows": [1]},
}


@pytest.mark.parametrize("name", ODD)
def test_a_state_that_does_not_fit_its_trial_is_one_line(trial, recorder, tmp_path, name):
    path = tmp_path / "odd.pt"
    fit(trial(), recorder(), checkpoint=path)
    old = load_checkpoint(path)
    save_checkpoint(replace(old, training=ODD[name](dict(old.training))), path)
    with pytest.raises(CheckpointError, match=r"odd\.pt must h") as caught:
        fit(trial(training={"epochs": 3}), recorder(), resume=path)
    assert "\n" not in str(caught.value)


def test_rows_of_a_checkpoint_may_have_other_keys(trial, recorder, tmp_path):
    path = tmp_path / "other.pt"
    fit(trial(), recorder(), checkpoint=path)
    old = load_checkpoint(path)
    known = read_rows(path)
    rows = [{**row, "moon_phase": 0.5} for row in old.training["rows"]]
    training = old.training | {"rows": rows}
    save_checkpoint(Checkpoint(old.config, old.tasks, old.weights, old.epoch, training), path)
    assert read_rows(path) == known
    del rows[1]["seconds"]
    save_checkpoint(Checkpoint(old.config, old.tasks, old.weights, old.epoch, training), path)
    with pytest.raises(DataError, match=r"other\.pt must have seconds"):
        read_rows(path)


def test_a_checkpoint_whose_configuration_is_none_of_ours_is_named(trial, recorder, tmp_path):
    path = tmp_path / "foreign.pt"
    fit(trial(), recorder(), checkpoint=path)
    edited(path, lambda config: config["training"].update(moon_phase=1))
    with pytest.raises(CheckpointError, match=r"foreign\.pt: .*training\.moon_phase") as caught:
        fit(trial(training={"epochs": 3}), recorder(), resume=path)
    assert "\n" not in str(caught.value)


def test_resume_needs_more_than_weights(trial, recorder, tmp_path):
    path = tmp_path / "one.pt"
    fit(trial(), recorder(), checkpoint=path)
    full = load_checkpoint(path)
    bare = Checkpoint(full.config, full.tasks, full.weights, full.epoch)
    save_checkpoint(bare, path)
    with pytest.raises(DataError, match="must hold the state of a training to continue it"):
        fit(trial(training={"epochs": 3}), recorder(), resume=path)


def test_diverged_training_names_task_and_epoch(trial, recorder, tmp_path):
    reporter = recorder()
    data = trial().dataset.model_copy(update={"poisoned": True})
    config = trial(dataset=data, auxiliary_tasks=["depth"])
    with pytest.raises(DivergedError, match=r"depth became NaN or infinite at step \d of epoch 1"):
        fit(config, reporter, checkpoint=tmp_path / "never.pt")
    assert reporter.rows == []
    assert not (tmp_path / "never.pt").exists()


def test_huge_learning_rate_is_reported_as_divergence(trial, recorder):
    training = {"learning_rate": 1e30, "optimizer": "sgd", "schedule": "constant", "epochs": 5}
    with pytest.raises(DivergedError, match=r"lower training\.learning_rate"):
        fit(trial(training=training), recorder())


class Broken(torch.nn.Module):
    """Answers NaN."""

    def forward(self, images, tasks=None):
        shape = (len(images), 4, *images.shape[2:])
        return {"segmentation": images.sum() * torch.full(shape, torch.nan)}


@pytest.mark.parametrize(("measure", "said"), [(clean_scores, "clean"), (robust_scores, "robust")])
def test_predictions_of_nan_end_a_trial_instead_of_becoming_a_score(measure, said, trial):
    config = trial()
    tasks = build_tasks(config)
    data = open_dataset(config.dataset, "validation", config.task_set)
    with pytest.raises(DivergedError, match=f"the {said} ones of segmentation are NaN or infinite"):
        measure(config, Broken(), tasks, data, device=torch.device("cpu"))


def test_first_broken_step_decides_who_is_named():
    sums = torch.tensor([[1.0, 2.0, 3.0], [1.0, float("nan"), 3.0], [float("inf")] * 3])
    with pytest.raises(DivergedError, match="but depth became NaN or infinite at step 2 of epoch"):
        check_finite(sums, ["segmentation", "depth", "normals"], epoch=7)
    check_finite(sums[:1], ["segmentation", "depth", "normals"], epoch=7)
