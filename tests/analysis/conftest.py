"""A made-up study with everything that a report shows: records by hand, no training."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from taskgroup.results.record_files import DIMENSIONS, TASK_GRADIENTS, TRANSFERS
from taskgroup.results.records import (
    DimensionRow,
    EpochRow,
    EvaluationRow,
    Panel,
    PanelKind,
    TaskGradientRow,
    TransferRow,
    TrialResult,
    pixel_bytes,
)
from taskgroup.results.run_directory import RunDirectory
from taskgroup.study.study import Study

TASKS = ("depth", "edges", "normals")
SPACE = """name: rooms
dataset: {name: scenes, image_size: 64}
main_task: segmentation
auxiliary_tasks: {subset: [depth, edges, normals]}
objectives: [{maximize: segmentation/robust/miou}, {maximize: segmentation/clean/miou}]
"""
VALIDATION = {"attack": "pgd", "norm": "linf", "epsilon": 4 / 255, "steps": 10}


def build_trial(
    number: int,
    auxiliary: tuple[str, ...] = (),
    *,
    clean: float = 0.5,
    robust: float = 0.2,
    epsilon: float | None = 4 / 255,
    label: str | None = None,
    epochs: int = 8,
    planned: int = 8,
    **changes: object,
) -> TrialResult:
    """A trial whose scores rise to the given ones; ``epsilon`` None trains naturally."""
    rows = [
        EpochRow(
            epoch,
            {
                "segmentation/train/loss": 2.0 / epoch,
                "segmentation/clean/miou": clean * (1 - math.exp(-epoch / 2)) if epoch < planned
                else clean,
                "segmentation/robust/miou": robust * (1 - math.exp(-epoch / 3)) if epoch < planned
                else robust,
            },
            2.5,
            600 * 2**20,
        )
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip
    attack = {"attack": "none"} if epsilon is None else {
        "attack": "pgd", "norm": "linf", "epsilon": epsilon, "steps": 3,
    }  # fmt: skip
    weights = {task: 0.1 * (1 + index + number % 5) for index, task in enumerate(auxiliary)}
    drawn = {f"loss_weights.{task}": weight for task, weight in weights.items()}
    drawn["training.learning_rate"] = 1e-3 * 1.3 ** (number % 11)
    if epsilon is not None:
        drawn |= {"adversary.epsilon": epsilon, "adversary.steps": 1 + number % 3}
    base = TrialResult(
        number=number,
        label=label or "+".join(("segmentation", *auxiliary)),
        role="searched" if label is None else "baseline",
        config={"adversary": attack, "loss_weights": weights, "validation": VALIDATION},
        parameters=drawn,
        main_task="segmentation",
        auxiliary_tasks=auxiliary,
        output_dimension=4096 * (9 + len(auxiliary)),
        status="complete",
        epochs=tuple(rows),
        planned_epochs=planned,
        seed=0,
        started=f"2026-11-21T04:{number:02d}:00+00:00",
        seconds=2.5 * epochs,
        overhead_seconds=0.125 if number else None,
        peak_memory=600 * 2**20,
        checkpoint=f"checkpoints/{number:05d}.pt",
        versions={"torch": "2.15.0", "taskgroup": "0.1.0"},
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def build_trials() -> list[TrialResult]:
    """Three baselines, a dozen searched trials, two pruned, one failed."""
    rng = np.random.default_rng(3)
    trials = [
        build_trial(0, clean=0.613, robust=0.031, epsilon=None, label="main only, natural"),
        build_trial(1, clean=0.487, robust=0.258, label="main only, adversarial"),
        build_trial(2, TASKS, clean=0.512, robust=0.281, label="all candidates, equal weights"),
    ]
    sets = (("depth",), ("depth", "normals"), ("edges",), TASKS, ("normals",), ("depth", "edges"))
    helps = {"depth": 0.025, "normals": 0.03, "edges": -0.015}
    for number in range(3, 18):
        chosen = sets[number % len(sets)]
        epsilon = (2 + 2 * (number % 3)) / 255
        robust = 0.2 + 0.012 * 255 * epsilon + sum(helps[t] for t in chosen) + rng.normal(0, 0.012)
        clean = 0.58 - 0.017 * 255 * epsilon + sum(helps[t] for t in chosen) / 2
        stopped = {"status": "pruned", "reason": "below the median at epoch 2", "epochs": 2}
        failed = {"status": "failed", "reason": "the loss became NaN in epoch 1", "epochs": 0}
        extra = stopped if number in (8, 13) else failed if number == 15 else {}
        scores = {"clean": clean + rng.normal(0, 0.01), "robust": robust, "epsilon": epsilon}
        trials.append(build_trial(number, chosen, **scores, **extra))  # type: ignore[arg-type]
    return trials


RADII = (0.0, 2 / 255, 4 / 255, 8 / 255, 16 / 255, 1.0)


def make_evaluation(trial: TrialResult, role: str) -> list[EvaluationRow]:
    """Every standard condition of one model."""
    clean = trial.score("segmentation/clean/miou") or 0.0
    fall = 0.2 if trial.is_adversarial else 1.2
    conditions = [
        ("clean", 0.0, 0, 0, 1.0), ("noise", 4 / 255, 1, 1, 0.98), ("fgsm", 4 / 255, 1, 1, 1.1),
        ("square", 4 / 255, 100, 1, 1.2), ("apgd", 4 / 255, 50, 2, 1.0),
        ("apgd_tasks", 4 / 255, 20, 1, 1.1),
        *(("sweep", radius, 20 if radius else 0, 1 if radius else 0, 1.02) for radius in RADII),
        ("worst_case", 4 / 255, 50, 2, 0.97),
    ]  # fmt: skip
    rows = []
    for condition, epsilon, steps, restarts, factor in conditions:
        hurt = 0.0 if condition == "noise" else epsilon * 255 * fall / 1.3
        score = clean * factor * math.exp(-hurt) if condition != "clean" else clean
        rows.append(
            EvaluationRow(
                trial=trial.number,
                label=trial.label,
                role=role,  # type: ignore[arg-type]
                condition=condition,
                attacked_tasks=trial.task_set if condition == "apgd_tasks" else ("segmentation",),
                norm="linf",
                epsilon=epsilon,
                steps=steps,
                restarts=restarts,
                task="segmentation",
                score_name="miou",
                direction="maximize",
                score=score,
                low=score * 0.94,
                high=score * 1.06,
                images=64 if condition == "square" else 256,
                seed=0,
                verdict="ok",
                seconds=4.0,
                attack="apgd" if condition == "sweep" and epsilon else "",
                valid=256 * 64 * 64,
                vulnerability=None if condition == "clean" else 1 - score,
                suite="quick",
            )
        )
    return rows


def make_panels(trial: TrialResult, role: str) -> list[Panel]:
    """Two images with a class map: a disc on a floor."""
    rng = np.random.default_rng(trial.number)
    rows, columns = np.mgrid[0:64, 0:64]
    panels = []
    for image in range(2):
        target = np.where(rows > 40 - 6 * image, 0, 1)
        target[(rows - 34) ** 2 + (columns - 22 - 16 * image) ** 2 < 190] = 3
        picture = np.stack([90 + 40 * target, 160 - 20 * target, 120 + rows], -1)
        picture = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255)
        wrong = (rng.random(target.shape) < (0.3 if trial.is_adversarial else 0.8)) * 2

        def panel(content: str, condition: str, values: np.ndarray, image: int = image) -> Panel:
            kind: PanelKind = "picture" if content == "image" else "classes"
            return Panel(
                trial.number, trial.label, role, image, condition,  # type: ignore[arg-type]
                0.0 if condition == "clean" else 4 / 255, content,  # type: ignore[arg-type]
                "" if content == "image" else "segmentation", kind, values.shape,
                pixel_bytes(values, kind), ("floor", "wall", "box", "ball"),
            )  # fmt: skip

        noise = rng.choice([-4, 4], picture.shape)
        panels += [
            panel("target", "clean", target),
            panel("image", "clean", picture),
            panel("prediction", "clean", np.roll(target, 1, 0)),
            panel("image", "apgd", np.clip(picture + noise, 0, 255)),
            panel("prediction", "apgd", np.where(wrong > 0, wrong, target)),
        ]
    return panels


def make_transfers(models: list[TrialResult]) -> list[TransferRow]:
    """Each model on images attacked for each; others' images hurt half as much."""
    return [
        TransferRow(
            source=source.number,
            source_label=source.label,
            target=target.number,
            target_label=target.label,
            attack="apgd",
            norm="linf",
            epsilon=4 / 255,
            steps=50,
            restarts=2,
            task="segmentation",
            score_name="miou",
            direction="maximize",
            score=0.2 if source is target else 0.4,
            low=0.1,
            high=0.5,
            images=256,
            seed=0,
        )
        for source in models
        for target in models
    ]


COUNTS = (1, 4, 16, 64, 256)
CORRELATION = 0.02


def make_dimension(trial: TrialResult, role: str) -> list[DimensionRow]:
    """Gradient norms on the law with c = 0.02, scores that rise, and the same for its tasks."""
    scale = 1.0 if trial.is_adversarial else 4.0
    base = DimensionRow(
        trial=trial.number,
        label=trial.label,
        role=role,  # type: ignore[arg-type]
        measure="gradient_norm",
        counted="outputs",
        count=1,
        combine="sum",
        task="segmentation",
        score_name="root_mean_square",
        direction="minimize",
        value=0.0,
        low=0.0,
        high=0.0,
        clean=None,
        images=3,
        samples=4.0,
        values=(),
        attack="",
        norm="l2",
        epsilon=0.0,
        steps=0,
        restarts=0,
        grid="doubling",
        seed_compatible=False,
        seed=0,
        seconds=1.0,
    )

    def gradient(count: int, **changes: object) -> list[DimensionRow]:
        square = scale**2 * (1 + (count - 1) * CORRELATION) / count
        root = replace(
            base, count=count, value=square**0.5, values=(square / 2, square, 1.5 * square)
        )
        root = replace(root, low=0.9 * root.value, high=1.1 * root.value, **changes)  # type: ignore[arg-type]
        return [root, replace(root, score_name="mean", value=0.9 * root.value)]

    def score(count: int, **changes: object) -> DimensionRow:
        value = 0.7 - 0.3 / count
        scored = replace(
            base, measure="robust_score", score_name="accuracy", count=count, value=value
        )
        scored = replace(
            scored, low=value - 0.05, high=value + 0.05, clean=0.8, attack="pgd", steps=20
        )
        return replace(scored, norm="linf", epsilon=4 / 255, direction="maximize", **changes)  # type: ignore[arg-type]

    rows = [row for count in COUNTS for row in gradient(count)] + [score(c) for c in COUNTS]
    for count in range(1, len(trial.task_set) + 1):
        for combine in ("sum", "unit_gradient"):
            rows += gradient(count, counted="tasks", combine=combine)
            rows.append(score(count, counted="tasks", combine=combine))
    return rows


def make_task_gradients(trial: TrialResult, role: str) -> list[TaskGradientRow]:
    """Every two tasks at a cosine of 0.25."""

    def row(quantity: str, task: str, other: str, value: float) -> TaskGradientRow:
        return TaskGradientRow(
            trial.number, trial.label, role, quantity, task, other,  # type: ignore[arg-type]
            value, value - 0.1, value + 0.1, 32, False, 0,
        )  # fmt: skip

    tasks = trial.task_set
    rows = [row("joint_norm", "", "", 0.1), row("balanced_norm", "", "", 0.7)]
    for task in tasks:
        rows += [row("norm", task, "", 0.2), row("joint_cosine", task, "", 0.6)]
        rows.append(row("balanced_cosine", task, "", 0.7))
        rows += [row("cosine", task, other, 1.0 if task == other else 0.25) for other in tasks]
    return rows


MakeRun = Callable[..., RunDirectory]


def evaluated_models(study: Study) -> list[tuple[TrialResult, str]]:
    """The winner and the baselines, each with its role."""
    assert study.best is not None
    baselines = [trial for trial in study.trials if trial.role == "baseline"]
    return [(study.best, "winner"), *((trial, "baseline") for trial in baselines)]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a run directory with these trials, and an evaluation if asked for."""

    def make(
        trials: list[TrialResult], *, evaluated: bool = False, space: str = SPACE
    ) -> RunDirectory:
        run = RunDirectory.create(tmp_path, "rooms", space)
        for trial in trials:
            run.write_trial(trial)
        if evaluated:
            models = evaluated_models(Study.read(run))
            rows = [row for trial, role in models for row in make_evaluation(trial, role)]
            transfers = make_transfers([trial for trial, _ in models])
            curves = [row for trial, role in models for row in make_dimension(trial, role)]
            angles = [row for trial, role in models for row in make_task_gradients(trial, role)]
            DIMENSIONS.write(run.storage, curves)
            TASK_GRADIENTS.write(run.storage, angles)
            TRANSFERS.write(run.storage, transfers)
            run.write_evaluation(rows, [p for t, role in models for p in make_panels(t, role)])
        return run

    return make


@pytest.fixture
def make_trial() -> Callable[..., TrialResult]:
    """Builds one trial."""
    return build_trial


@pytest.fixture
def make_trials() -> Callable[[], list[TrialResult]]:
    """Builds the trials of the made-up study."""
    return build_trials


@pytest.fixture
def study(make_run: MakeRun) -> Study:
    """The whole made-up study, evaluated."""
    return Study.read(make_run(build_trials(), evaluated=True))


@pytest.fixture
def panels(study: Study) -> list[Panel]:
    """The pictures of its evaluation."""
    return [panel for trial, role in evaluated_models(study) for panel in make_panels(trial, role)]
