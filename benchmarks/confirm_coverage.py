"""How often intervals of a confirm stage hold the truth, and how often it finds what is not there.

Networks are drawn whose true scores are known: each image is hard to some degree, each task set
suits some images more than others, each seed is better or worse, and chance does the rest. Their
scores go through the functions that a confirm stage goes through, from sums of images to verdicts.

    python benchmarks/confirm_coverage.py --repeats 1000
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from taskgroup.metrics.absolute import AbsoluteMetric
from taskgroup.metrics.accuracy import AccuracyMetric
from taskgroup.metrics.base import SumMetric
from taskgroup.metrics.confusion import ConfusionMetric
from taskgroup.results.records import EvaluationRow, TrialResult
from taskgroup.study.confirmation import Confirmed, confirmed_task_sets, suite_scores
from taskgroup.study.intervals import jackknife_influences
from taskgroup.study.objectives import StudyObjective

IMAGES = (30, 128, 500)
SEEDS = (3, 5, 10)
TASK_SETS = 3
"""Task sets that are compared with the main task alone at once."""
CLASSES = 4
PIXELS = 64
Sums = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Standard deviations of what makes an image easier or a network better."""

    image: float = 1.0
    suits: float = 0.3
    seed: float = 0.1
    rest: float = 0.5

    @property
    def all(self) -> float:
        """That of their sum."""
        return float(np.sqrt(self.image**2 + self.suits**2 + self.seed**2 + self.rest**2))

    def draw(self, rng: np.random.Generator, seeds: int, images: int, *more: int) -> Sums:
        """How well each task set does under each seed on each image, ``(1 + T, S, N, ...)``."""
        sets, ones = 1 + TASK_SETS, [1 for _ in more]
        return (
            rng.normal(0, self.image, (1, 1, images, *more))
            + rng.normal(0, self.suits, (sets, 1, images, *more))
            + rng.normal(0, self.seed, (sets, seeds, 1, *ones))
            + rng.normal(0, self.rest, (sets, seeds, images, *more))
        )


@dataclass(frozen=True)
class Setting:
    """Networks of which the truth is known.

    Attributes:
        name: What it is called.
        metric: What turns sums into scores.
        draw: Draws sums ``(1 + T, S, N, ...)``, the main task alone first, for S seeds, N images.
        alone: True score of the main task alone; None where it depends on too much.
        gain: How much better each task set truly scores.
        constant: The best that a constant prediction reaches.
    """

    name: str
    metric: SumMetric
    draw: Callable[[np.random.Generator, int, int], Sums]
    alone: float | None
    gain: float = 0.0
    constant: float = 0.05

    @property
    def objective(self) -> StudyObjective:
        """The metric's main score under attack."""
        name, direction = next(iter(self.metric.directions.items()))
        return StudyObjective(f"main/robust/{name}", direction)


def shift(draw: Sums, gain: float) -> Sums:
    """The same with every task set better by so much."""
    return draw + gain * (np.arange(1 + TASK_SETS) > 0).reshape(-1, *(1,) * (draw.ndim - 1))


def votes(
    name: str,
    spread: Spread = Spread(),
    *,
    level: float = 0.5,
    gain: float = 0.0,
    ties: float = 0.0,
) -> Setting:
    """One class per image; on a share of the images, ``ties``, all networks agree."""

    def draw(rng: np.random.Generator, seeds: int, images: int) -> Sums:
        right = shift(level + spread.draw(rng, seeds, images), gain) > 0
        agreed = rng.random(images) < ties
        right[..., agreed] = rng.normal(level, spread.all, int(agreed.sum())) > 0
        return np.stack([right, np.ones_like(right)], -1).astype(np.float64)

    alone, better = (float(norm.cdf((level + g) / spread.all)) for g in (0.0, gain))
    return Setting(name, AccuracyMetric(), draw, alone, (1 - ties) * (better - alone))


def one_class(name: str) -> Setting:
    """Every network answers one class for all images, which half of them have."""

    def draw(rng: np.random.Generator, seeds: int, images: int) -> Sums:
        classes, answers = rng.random(images) < 0.5, rng.random((1 + TASK_SETS, seeds, 1)) < 0.5
        right = classes == answers
        return np.stack([right, np.ones_like(right)], -1).astype(np.float64)

    return Setting(name, AccuracyMetric(), draw, 0.5, constant=0.5)


def maps(name: str, spread: Spread = Spread(0.8, 0.3, 0.1, 0.4)) -> Setting:
    """Class maps of images in which some classes are rare or absent."""

    def draw(rng: np.random.Generator, seeds: int, images: int) -> Sums:
        shares = rng.dirichlet([0.3] * CLASSES, images)
        targets = np.broadcast_to(
            rng.multinomial(PIXELS, shares), (1 + TASK_SETS, seeds, images, CLASSES)
        )
        right = rng.binomial(
            targets, 1 / (1 + np.exp(-0.8 - spread.draw(rng, seeds, images, CLASSES)))
        )
        predicted = right + np.roll(targets - right, 1, -1)
        return np.concatenate([right, targets, predicted], -1).astype(np.float64)

    return Setting(name, ConfusionMetric(CLASSES), draw, None)


def errors(name: str, spread: Spread = Spread(0.6, 0.2, 0.05, 0.3)) -> Setting:
    """Errors that are large on few images."""

    def draw(rng: np.random.Generator, seeds: int, images: int) -> Sums:
        error = np.exp(spread.draw(rng, seeds, images))
        return np.stack([error, np.ones_like(error)], -1)

    return Setting(name, AbsoluteMetric(), draw, float(np.exp(spread.all**2 / 2)), constant=100.0)


SETTINGS = (
    votes("no effect"),
    votes("no effect, seeds differ much", Spread(seed=0.6)),
    votes("no effect, seeds agree", Spread(suits=1.0, seed=0.02, rest=0.05)),
    votes("no effect, nearly all right", level=2.5),
    votes("small effect", gain=0.1),
    votes("ties (90 %)", ties=0.9),
    votes("ties and a small effect", gain=0.3, ties=0.9),
    one_class("one class for all images"),
    maps("mIoU, no effect"),
    errors("errors, no effect"),
)


@dataclass(frozen=True)
class Rates:
    """What was counted, as shares.

    Attributes:
        shown: Comparisons with an interval.
        held: Intervals of differences that hold the truth.
        held_scores: Intervals of the main task alone that hold the truth; NaN if not known.
        false: Stages in which any verdict is false: a task set helps or hurts that does not.
        found: Comparisons in which a task set that helps is found to help.
    """

    shown: float
    held: float
    held_scores: float
    false: float
    found: float


def simulate(setting: Setting, seeds: int, images: int, *, repeats: int, seed: int = 0) -> Rates:
    """Run many confirm stages of one setting and count."""
    rng = np.random.default_rng([seed, seeds, images])
    sign = setting.objective.sign
    shown, held, scores, false, found = [], [], [], [], []
    for stage in (_stage(setting, rng, seeds, images) for _ in range(repeats)):
        alone, sets = stage[0], stage[1:]
        ends = [own.differences[0] for own in sets]
        known = [own for own in ends if own.low == own.low]
        shown += [own.low == own.low for own in ends]
        held += [own.low <= setting.gain <= own.high for own in known]
        if setting.alone is not None and alone.scores[0].low == alone.scores[0].low:
            scores.append(alone.scores[0].low <= setting.alone <= alone.scores[0].high)
        truth = {"helps"} if sign * setting.gain > 0 else set()
        false.append(any(own.verdict in {"helps", "hurts"} - truth for own in sets))
        found += [own.verdict in truth for own in sets]
    counted = (shown, held, scores, false, found)
    return Rates(*(float(np.mean(own)) if own else float("nan") for own in counted))


def _stage(
    setting: Setting, rng: np.random.Generator, seeds: int, images: int
) -> Sequence[Confirmed]:
    """One confirm stage: the main task alone, then the task sets."""
    sums = setting.draw(rng, seeds, images)
    trials = [_trial(which, seed, seeds) for which, seed in np.ndindex(sums.shape[:2])]
    rows = [
        _row(setting, trial.number, own)
        for trial, own in zip(trials, sums.reshape(-1, *sums.shape[2:]), strict=True)
    ]
    return confirmed_task_sets(trials, [setting.objective], suite_scores(trials, rows))


def _trial(which: int, seed: int, seeds: int) -> TrialResult:
    tasks = (f"task {which}",) if which else ()
    config = {"main_task": "main", "auxiliary_tasks": list(tasks), "seed": seed}
    return TrialResult(
        number=which * seeds + seed, label="", role="searched", config=config, parameters={},
        main_task="main", auxiliary_tasks=tasks, output_dimension=1, status="complete", seed=seed,
        stage="confirm",
    )  # fmt: skip


def _row(setting: Setting, trial: int, sums: Sums) -> EvaluationRow:
    score, direction = next(iter(setting.metric.directions.items()))

    def scored(drawn: Sums) -> Sums:
        return setting.metric.score(torch.from_numpy(drawn))[score].numpy()

    return EvaluationRow(
        trial=trial, label="", role="other", condition="worst_case", attacked_tasks=(),
        norm="linf", epsilon=0.1, steps=1, restarts=1, task="main", score_name=score,
        direction=direction, score=float(scored(sums.sum(0))), low=0.0, high=1.0,
        images=len(sums), seed=0, verdict="ok", seconds=0.0, suite="standard", split="confirm",
        influences=tuple(jackknife_influences(sums, scored)), constant=setting.constant,
    )  # fmt: skip


def table(settings: Sequence[Setting], *, repeats: int) -> Iterator[str]:
    """Lines of a Markdown table, one per setting and number of images."""
    heads = [f"{seeds} seeds" for seeds in SEEDS]
    yield f"| networks | images | {' | '.join(heads)} |"
    yield f"|---|---|{'---|' * len(heads)}"
    for setting, images in product(settings, IMAGES):
        cells = [_cell(simulate(setting, seeds, images, repeats=repeats)) for seeds in SEEDS]
        yield f"| {setting.name} | {images} | {' | '.join(cells)} |"


def _cell(rates: Rates) -> str:
    """Intervals that hold the difference and the score, false verdicts, true ones, shown."""
    held = (_percent(rates.held), _percent(rates.held_scores))
    return (
        f"{' / '.join(held)}; {_percent(rates.false)}"
        + (f"; {_percent(rates.found)}" if rates.found else "")
        + (f" ({_percent(rates.shown)} shown)" if rates.shown < 0.995 else "")
    )


def _percent(share: float) -> str:
    return "-" if share != share else f"{100 * share:.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="begin with this setting")
    parser.add_argument("--last", type=int, default=len(SETTINGS), help="end before this one")
    given = parser.parse_args()
    for line in table(SETTINGS[given.first : given.last], repeats=given.repeats):
        print(line, flush=True)
