"""Every mistake in a trial is one line, before any image is decoded."""

import pytest
from pydantic import ValidationError

from taskgroup.errors import ConfigError
from taskgroup.training.fit import fit

TRADES = {"attack": "pgd", "method": "trades"}
MISTAKES = [
    ({"main_task": "flow"}, r"has no task 'flow'; it has: classification, depth"),
    ({"auxiliary_tasks": ["edgse"]}, r"has no task 'edgse'"),
    (
        {"task_options": {"flow": {"class_weights": "none"}}},
        r"^task_options: data set .* has no task 'flow'",
    ),
    (
        {"task_options": {"segmentation": {"class_weights": [1, 2]}}},
        r"task_options\.segmentation\.class_weights must hold one weight for each of 4 classes",
    ),
    (
        {"adversary": {"attack": "pgd", "attacked_tasks": ["depth"]}},
        r"attacked_tasks must lie in the task set, got 'depth'; choose from: segmentation",
    ),
    (
        {"main_task": "depth", "adversary": TRADES},
        r"method 'trades' needs a main task with classes, got 'depth'; write method: adversarial",
    ),
    (
        {"adversary": {**TRADES, "attacked_tasks": "all"}},
        r"method 'trades' attacks the main task only, got attacked_tasks 'all'",
    ),
    (
        {"adversary": {**TRADES, "clean_share": 0.5}},
        r"adversary\.clean_share must be 0 with method 'trades'.* got 0\.5; remove it",
    ),
    (
        {"adversary": {**TRADES, "random_start": False}},
        r"adversary\.random_start must be true with method 'trades'",
    ),
    (
        {"training": {"crop_size": 4096}},
        r"crop_size must be at most the shorter side of the images, \d+ pixels, got 4096; lower it",
    ),
    ({"model": {"backbone": "resnet_smal"}}, r"unknown backbone 'resnet_smal'"),
    (
        {"main_task": "depth", "validation": {"attack": "sea"}},
        r"'sea' needs a class per pixel, but the attacked task predicts numbers; choose apgd",
    ),
    (
        {"validation": {"attack": "autoattack"}},
        r"'autoattack' needs one class per image, but .* a class per pixel; choose sea or tempered",
    ),
    (
        {"validation": {"attack": "square", "norm": "l1", "epsilon": 8.0}},
        r"attack 'square' must go with norm linf or l2, got l1; choose apgd",
    ),
    (
        {"validation": {"attack": "apgd", "seed_compatible": True}},
        r"seed_compatible must be false for attack 'apgd'",
    ),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_mistake_is_one_line_before_data_is_opened(trial, recorder, opened, changes, message):
    reporter = recorder()
    with pytest.raises(ConfigError, match=message) as caught:
        fit(trial(**changes), reporter)
    assert "\n" not in str(caught.value)
    assert opened == []
    assert reporter.dimension is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"auxiliary_tasks": ["segmentation"]}, "must not name the main task"),
        ({"auxiliary_tasks": ["depth", "depth"]}, "auxiliary_tasks must not repeat a task"),
        ({"auxiliary_tasks": ["depth"], "loss_weights": {}}, "must name exactly the auxiliary"),
        (
            {"auxiliary_tasks": ["depth"], "loss_weights": {"depth": float("inf")}},
            "finite number",
        ),
        ({"auxiliary_tasks": ["depth"], "loss_weights": {"depth": 0}}, "greater than 0"),
    ],
)
def test_wrong_task_sets_and_weights_are_refused(trial, changes, message):
    with pytest.raises(ValidationError, match=message):
        trial(**changes)


def test_natural_trial_ignores_the_rest_of_its_adversary(trial, recorder):
    """A natural baseline keeps the space's adversary section but for the attack."""
    adversary = {"attack": "none", "method": "trades", "attacked_tasks": ["depth"]}
    reporter = recorder()
    fit(trial(adversary=adversary, training={"epochs": 1}), reporter)
    assert len(reporter.rows) == 1
