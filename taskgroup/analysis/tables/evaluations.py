"""Tables of an evaluation: clean beside robust, attack by attack, who is fooled by whose images."""

from collections.abc import Sequence
from typing import Any

from taskgroup.analysis.groups import group_of_row
from taskgroup.analysis.tables.base import Row, Table, mixed_versions
from taskgroup.results.records import EvaluationRow, TransferRow, TrialResult
from taskgroup.wording import (
    MISSING,
    condition_name,
    first_images,
    format_bound,
    format_decimals,
    format_radius,
    format_score,
    score_interval,
    score_name,
)

TIMES = "\N{MULTIPLICATION SIGN}"
WITHOUT_BACKGROUND = "_foreground"
OK = "ok"
LAST = {"worst_case": 1, "sweep": 2}
"""Places of conditions behind all others of their ball."""


def robustness_table(rows: Sequence[EvaluationRow], trials: Sequence[TrialResult] = ()) -> Table:
    """Each model's clean score beside its worst case, with what the sanity checks say.

    Where the main task has a background class, scores stand with it and without.

    Args:
        rows: Rows of one or several models; the first row of a model names its main score.
        trials: Trials that say which part each model plays; may be empty.
    """
    if not rows:
        return Table(("model",), frozenset(), ())
    main = rows[0].score_name
    own = [row for row in rows if row.task == rows[0].task]
    scores = [main] + [
        row.score_name
        for row in own[:20]
        if row.score_name == main + WITHOUT_BACKGROUND and row.condition == own[0].condition
    ]
    heads = [f"{kind} {score_name(score)}" for score in scores for kind in ("clean", "robust")]
    columns = ("model", "ε", *heads, "relative vulnerability", "verdict")
    worst = [row for row in own if row.condition == "worst_case" and row.score_name == main]
    models = list(dict.fromkeys((row.trial, row.label) for row in worst))
    worst.sort(
        key=lambda row: (models.index((row.trial, row.label)), row.norm == "l2", row.epsilon)
    )
    lines = tuple(_robust_line(row, own, scores, trials) for row in worst)
    numeric = frozenset(range(1, 3 + len(heads)))
    return Table(columns, numeric, lines, (_robust_note(rows[0]), *mixed_versions(worst)))


def _model(row: EvaluationRow) -> tuple[int, str]:
    return row.trial, row.label


def _name(row: EvaluationRow, trials: Sequence[TrialResult]) -> str:
    """The label; of a confirmation with its seed, because others have the same label."""
    seeds = [t.seed for t in trials if (t.number, t.stage) == (row.trial, "confirm")]
    return f"{row.label}, seed {seeds[0]}" if seeds else row.label


def _robust_line(
    worst: EvaluationRow,
    rows: Sequence[EvaluationRow],
    scores: Sequence[str],
    trials: Sequence[TrialResult],
) -> Row:
    """One model in one ball."""
    model = [row for row in rows if _model(row) == _model(worst)]
    clean = {row.score_name: row for row in model if row.condition == "clean"}
    ball = (worst.norm, worst.epsilon)
    robust = {
        row.score_name: row
        for row in model
        if row.condition == "worst_case" and (row.norm, row.epsilon) == ball
    }
    pairs = [found.get(score) for score in scores for found in (clean, robust)]
    factor = worst.vulnerability
    cells = (
        _name(worst, trials),
        format_radius(*ball),
        *(_interval(row, marked=False) for row in pairs),
        format_decimals(factor),
        worst.verdict,
    )
    data = {
        "trial": worst.trial,
        "label": worst.label,
        "role": worst.role,
        "norm": worst.norm,
        "epsilon": worst.epsilon,
        "clean": {name: row.score for name, row in clean.items()},
        "robust": {name: row.score for name, row in robust.items()},
        "vulnerability": factor,
        "verdict": worst.verdict,
        "is_bound": worst.is_bound,
    }
    alarms = frozenset() if worst.verdict == OK else frozenset({len(cells) - 1})
    return Row(cells, data, group_of_row(worst, trials), alarms)


def _robust_note(row: EvaluationRow) -> str:
    better = "lower" if row.direction == "minimize" else "higher"
    mean = ", mean over images" if row.valid > row.images else ""  # one label per image has no own
    return (
        f"{row.task} on {_images(row.images, row.split)}, {better} is better; robust is the worst "
        "of all attacks inside the ball, image by image; relative vulnerability is "
        "(attacked - clean) / clean error" + mean
    )


def evaluation_table(rows: Sequence[EvaluationRow], trials: Sequence[TrialResult] = ()) -> Table:
    """Scores by condition and model: the first score of each model's first task.

    Args:
        rows: Rows of one or several models, as ``evaluate`` returns them; the first row of a
            model names its main score.
        trials: Trials that say which part each model plays; may be empty.
    """
    main = [row for row in rows if (row.task, row.score_name) == (rows[0].task, rows[0].score_name)]
    main = [row for row in main if row.condition != "sweep" or row.epsilon > 0]
    balls = list(dict.fromkeys((row.norm, row.epsilon) for row in main if row.epsilon > 0))
    main.sort(key=lambda row: _place(row, balls))
    models = list(dict.fromkeys(_model(row) for row in main))
    conditions = dict.fromkeys(_condition_key(row) for row in main)
    cells = {(_model(row), _condition_key(row)): row for row in main}
    groups = {_model(row): group_of_row(row, trials) for row in main}
    heads = [f"best: {label}" if groups[(t, label)] == "best" else label for t, label in models]
    most = max((row.images for row in main), default=0)
    table_rows = [
        _evaluation_row(key, [cells.get((m, key)) for m in models], most) for key in conditions
    ]
    return Table(
        ("attack", "steps", "ε", *heads),
        frozenset(range(3, 3 + len(heads))),
        tuple(table_rows),
        _evaluation_notes(main),
    )


def _place(row: EvaluationRow, balls: Sequence[tuple[str, float]]) -> tuple[bool, int, int]:
    """Ball by ball, the worst case last; clean before all, the sweep behind all."""
    ball = balls.index((row.norm, row.epsilon)) if row.epsilon > 0 else -1
    is_sweep = row.condition == "sweep"
    return is_sweep, -1 if is_sweep else ball, LAST.get(row.condition, 0)


Key = tuple[str, str, float, int, int]


def _condition_key(row: EvaluationRow) -> Key:
    return (row.condition, row.norm, row.epsilon, row.steps, row.restarts)


def _evaluation_row(key: Key, rows: Sequence[EvaluationRow | None], most: int) -> Row:
    condition, norm, epsilon, steps, restarts = key
    known = [row for row in rows if row is not None]
    effort = str(steps) if steps else MISSING
    if restarts > 1:
        effort += f" {TIMES} {restarts}"
    name = condition_name(condition)
    if known and known[0].images < most:
        name += f", {first_images(known[0].images)}"
    texts = [_interval(row) for row in rows]
    data = {
        "condition": condition,
        "norm": norm,
        "epsilon": epsilon,
        "steps": steps,
        "restarts": restarts,
        "attacked_tasks": list(known[0].attacked_tasks) if known else [],
        "scores": [_score_data(row) for row in known],
    }
    alarms = frozenset(
        3 + place for place, row in enumerate(rows) if row is not None and row.verdict != OK
    )
    return Row((name, effort, format_radius(norm, epsilon), *texts), data, None, alarms)


def _interval(row: EvaluationRow | None, *, marked: bool = True) -> str:
    """A score with its interval, and an exclamation mark where a sanity check failed."""
    if row is None:
        return MISSING
    return row_score(row) + (" !" if marked and row.verdict != OK else "")


def row_score(row: EvaluationRow) -> str:
    """A score with its interval, or what it bounds."""
    if row.is_bound:
        return format_bound(row.score_name, row.score, direction=row.direction)
    return score_interval(row.score_name, row.score, row.low, row.high)


def _score_data(row: EvaluationRow) -> dict[str, Any]:
    names = ("trial", "label", "role", "task", "score_name", "score", "low", "high", "images")
    return {name: getattr(row, name) for name in (*names, "vulnerability", "verdict", "is_bound")}


def _evaluation_notes(rows: Sequence[EvaluationRow]) -> tuple[str, ...]:
    if not rows:
        return ()
    first = rows[0]
    better = "lower" if first.direction == "minimize" else "higher"
    head = (
        f"{first.task} {score_name(first.score_name)}, {better} is better, on "
        f"{_images(first.images, first.split)}; "
        "bootstrap 95 % intervals over images in parentheses"
    )
    most = max(rows, key=lambda row: row.restarts)
    if most.restarts > 1:
        head += f"; {most.steps} {TIMES} {most.restarts} is {most.steps} steps from "
        head += f"{most.restarts} random starts, the worst of which counts"
    found = dict.fromkeys(f"! {r.label}: {r.verdict}" for r in rows if r.verdict != OK)
    return (head, *mixed_versions(rows), *found)


def _images(count: int, split: str) -> str:
    return f"{count} {split} images" if count != 1 else f"one {split} image"


def transfer_table(rows: Sequence[TransferRow]) -> Table:
    """Source by target: each model's score on images that were attacked for another one."""
    if not rows:
        return Table(("attacked for",), frozenset(), ())
    sources = list(dict.fromkeys((row.source, row.source_label) for row in rows))
    targets = list(dict.fromkeys((row.target, row.target_label) for row in rows))
    found = {((r.source, r.source_label), (r.target, r.target_label)): r for r in rows}
    lines = tuple(
        _transfer_line(source[1], [found.get((source, target)) for target in targets])
        for source in sources
    )
    first = rows[0]
    note = (
        f"{first.task} {score_name(first.score_name)} of the model of the column on images that "
        f"were attacked for the model of the row ({condition_name(first.attack)}, ε "
        f"{format_radius(first.norm, first.epsilon)}). Only the diagonal, the attack on the model "
        "itself, says anything about robustness."
    )
    columns = ("attacked for", *(label for _, label in targets))
    return Table(columns, frozenset(range(1, len(columns))), lines, (note,))


def _transfer_line(label: str, rows: Sequence[TransferRow | None]) -> Row:
    texts = (MISSING if r is None else format_score(r.score_name, r.score) for r in rows)
    known = [row for row in rows if row is not None]
    data = {
        "source": known[0].source,
        "label": label,
        "scores": [
            {"target": row.target, "label": row.target_label, "score": row.score} for row in known
        ],
    }
    return Row((label, *texts), data)
