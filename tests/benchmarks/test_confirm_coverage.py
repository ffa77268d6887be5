"""Intervals and verdicts of the confirm stage on networks of which the truth is known."""

import pytest
from confirm_coverage import IMAGES, SEEDS, SETTINGS, Setting, simulate

REPEATS = 250
CHANCE = 2.5
"""Standard errors of the simulation itself that a rate may be off by."""


def error(rate: float, count: float) -> float:
    return (rate * (1 - rate) / count) ** 0.5


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_intervals_hold_the_truth_and_no_task_set_helps_that_does_not(
    setting: Setting, images: int
) -> None:
    for seeds in SEEDS:
        rates = simulate(setting, seeds, images, repeats=REPEATS, seed=1)
        for held in (rates.held, rates.held_scores):
            assert not held < 0.93 - CHANCE * error(0.93, REPEATS)
        assert rates.false <= 0.05 + CHANCE * error(0.05, REPEATS)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_can_be_drawn(setting: Setting) -> None:
    rates = simulate(setting, 3, 30, repeats=2)
    assert 0 < rates.shown <= 1
    assert setting.alone is None or rates.held_scores >= 0


def test_networks_of_one_class_never_help() -> None:
    (setting,) = (own for own in SETTINGS if own.name == "one class for all images")
    assert simulate(setting, 3, 128, repeats=30).false == 0


def test_a_large_effect_is_found() -> None:
    (setting,) = (own for own in SETTINGS if own.name == "ties and a small effect")
    assert simulate(setting, 10, 500, repeats=5).found > 0
