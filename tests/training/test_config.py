"""Stored configurations as today's."""

import pytest

from taskgroup.errors import ConfigError
from taskgroup.training.config import TrialConfig, completed

SCENES = {"name": "scenes", "image_size": 32, "train": 8, "validation": 4}


def test_defaults_fill_what_a_stored_configuration_lacks() -> None:
    least = {"dataset": {"name": "scenes"}, "main_task": "depth"}
    whole = completed(least)
    assert whole == TrialConfig.model_validate(least).model_dump(mode="json")
    assert whole["training"]["poly_power"] == 0.9
    assert whole["auxiliary_tasks"] == []
    assert completed(whole) == whole


def test_a_configuration_with_defaults_left_out_is_the_same_one() -> None:
    config = {"dataset": SCENES, "main_task": "depth", "adversary": {"epsilon": "4/255"}}
    assert completed(config) == completed({**config, "adversary": {}, "seed": 0})
    assert completed(config) != completed({**config, "seed": 1})


def test_what_is_no_configuration_is_named_with_its_source() -> None:
    with pytest.raises(ConfigError, match=r"^trial 3: .*training\.moon_phase"):
        completed(
            {"dataset": SCENES, "main_task": "depth", "training": {"moon_phase": 1}},
            source="trial 3",
        )
