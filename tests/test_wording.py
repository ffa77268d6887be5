"""How numbers read: as measured, and with the same signs and units everywhere."""

import math

import pytest

from taskgroup import wording
from taskgroup.wording import MINUS, MISSING

SHARE, ERROR = "segmentation/robust/miou", "depth/robust/rmse"
FORMATS = [wording.format_number, wording.format_decimals]
NAN = float("nan")


def number(text: str) -> float:
    """The number that a reader takes from a text."""
    return float(text.split(" ")[0].replace(MINUS, "-").removesuffix("/255"))


@pytest.mark.parametrize("value", [0.0, 1e-4, 0.0123, 0.5, 0.9995, 1.0, 12.345, 999.6, 123456.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_three_digits_are_kept(value: float, sign: int) -> None:
    for text in (wording.format_number(sign * value), wording.format_score(ERROR, sign * value)):
        assert "e" not in text or value < 1e-3
        assert number(text) == pytest.approx(sign * value, rel=5e-3)


@pytest.mark.parametrize("value", [0.0, 0.0004, 0.278, 0.5, 1.0])
def test_a_share_reads_in_percent_wherever_its_name_stands(value: float) -> None:
    for name in (SHARE, "miou"):
        text = wording.format_score(name, value)
        assert text.endswith(" %")
        assert number(text) / 100 == pytest.approx(value, abs=5e-4)
        gain = wording.format_gain(name, -value)
        assert gain.endswith(" points")
        assert number(gain) / 100 == pytest.approx(-value, abs=5e-4)


def test_other_scores_keep_their_unit() -> None:
    assert wording.format_score(ERROR, 0.5) == "0.500"
    assert wording.format_gain(ERROR, 0.5) == "+0.5"
    assert wording.format_difference(ERROR, 0.5) == "0.5"


@pytest.mark.parametrize("missing", [None, NAN])
def test_what_was_not_measured_is_a_dash(missing: float | None) -> None:
    for metric in (SHARE, ERROR):
        assert wording.format_score(metric, missing) == MISSING
        assert wording.format_gain(metric, missing) == MISSING
    assert {show(missing) for show in FORMATS} == {MISSING}
    assert wording.score_interval(SHARE, NAN, NAN, NAN) == MISSING
    assert wording.format_change(NAN) == MISSING


def test_no_negative_zero_among_decimals() -> None:
    assert wording.format_decimals(-0.004) == "0.00"
    assert wording.format_decimals(-0.006) == f"{MINUS}0.01"


def test_intervals_of_every_kind() -> None:
    assert wording.score_interval(SHARE, 0.312, 0.29, 0.331) == "31.2 % (29.0\N{EN DASH}33.1)"
    assert wording.score_interval(SHARE, 0.312, NAN, NAN) == "31.2 %"
    gain = wording.gain_interval(SHARE, 0.01, -0.02, 0.04)
    assert gain == f"+1.0 points ({MINUS}2.0 to +4.0)"
    assert wording.decimal_interval(0.5, 0.1, 0.9) == "0.50 (0.10\N{EN DASH}0.90)"
    assert wording.decimal_interval(-0.5, -0.9, -0.1) == f"{MINUS}0.50 ({MINUS}0.90 to {MINUS}0.10)"


@pytest.mark.parametrize("levels", [0.5, 1, 2.5, 8, 63])
def test_radii_read_in_255ths(levels: float) -> None:
    text = wording.format_epsilon(levels / 255)
    assert text == f"{levels:g}/255"
    assert wording.format_value("adversary.epsilon", levels / 255) == text
    assert wording.format_value("adversary.step_size", levels / 255) == text


@pytest.mark.parametrize("epsilon", [0.0, 0.25, 0.5, 1.0])
def test_large_radii_read_as_they_are(epsilon: float) -> None:
    expected = "63.8/255" if epsilon == 0.25 else f"{epsilon:g}"
    assert wording.format_epsilon(epsilon) == expected


@pytest.mark.parametrize("seconds", [0.04, 0.94, 9.96, 12.3, 59.4, 59.9, 61, 3599, 3600, 86399])
def test_durations_are_within_two_percent_or_half_a_unit(seconds: float) -> None:
    parts = wording.format_seconds(seconds).split()
    units = {"s": 1, "min": 60, "h": 3600}
    found = sum(float(n) * units[u] for n, u in zip(parts[::2], parts[1::2], strict=True))
    assert math.isclose(found, seconds, rel_tol=0.05 if seconds < 60 else 0.01, abs_tol=0.5)
    assert "60 s" not in wording.format_seconds(seconds)


def test_drawn_values_leave_the_task_set_out_and_begin_with_weights() -> None:
    drawn = {
        "auxiliary_tasks.depth": True,
        "adversary.epsilon": 4 / 255,
        "loss_weights.depth": 0.5,
        "training.learning_rate": 0.001,
    }
    assert wording.parameters_text(drawn) == "depth 0.5, epsilon 4/255, learning rate 0.001"
    assert wording.parameters_text({}) == ""


@pytest.mark.parametrize(
    ("names", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_in_a_sentence(names: list[str], text: str) -> None:
    assert wording.listed(names) == text
