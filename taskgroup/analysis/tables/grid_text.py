"""Cells of a grid study's tables as a reader sees them."""

from taskgroup.analysis.tables.grids import CLEAN
from taskgroup.results.records import EvaluationRow
from taskgroup.study.confirmation import MeanInterval
from taskgroup.wording import MINUS, MISSING, condition_name, format_radius, format_score

TO = "\N{EN DASH}"


def attack_text(row: EvaluationRow, most: int) -> str:
    """A condition with its effort and radius, and its images where others have more."""
    effort = f" {row.steps}" if row.steps > 1 else ""
    if row.restarts > 1:
        effort += f"\N{MULTIPLICATION SIGN}{row.restarts}"
    if row.condition in (CLEAN, "worst_case"):
        effort = ""
    radius = f", {format_radius(row.norm, row.epsilon)}" if row.epsilon else ""
    images = f", first {row.images} images" if row.images < most else ""
    return f"{condition_name(row.condition)}{effort}{radius}{images}"


def score_text(score: str, value: MeanInterval) -> str:
    """A score with its interval where there are several seeds, in the score's unit."""
    if not value.seeds:
        return MISSING
    mean = format_score(score, value.mean)
    if value.low != value.low:
        return mean
    low, high = (format_score(score, end).removesuffix(" %") for end in (value.low, value.high))
    return f"{mean} ({low}{TO}{high})"


def plain_text(score: str, value: MeanInterval) -> str:
    """A number without a unit, with its interval where there are several seeds."""
    if not value.seeds:
        return MISSING
    interval = "" if value.low != value.low else f" ({value.low:.2f}{TO}{value.high:.2f})"
    return f"{value.mean:.2f}{interval}"


def percent_text(value: MeanInterval) -> str:
    """A change in percent, with its interval where there are several seeds."""
    if not value.seeds:
        return MISSING
    mean = f"{_signed(value.mean)} %"
    if value.low != value.low:
        return mean
    return f"{mean} ({_signed(value.low)} to {_signed(value.high)})"


def _signed(value: float) -> str:
    return f"{MINUS if value < 0 else '+'}{abs(value):.1f}"
