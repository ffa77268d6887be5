"""How numbers and names read, on pages and terminals alike: scores, radii, durations, attacks."""

import math
from collections.abc import Mapping
from typing import Any

from taskgroup.results.records import Direction

MISSING = "-"
MINUS = "\N{MINUS SIGN}"

_SCORE_NAMES = {
    "miou": "mIoU",
    "iou": "IoU",
    "mean_accuracy": "mean class accuracy",
    "miou_foreground": "mIoU without background",
    "accuracy_foreground": "accuracy without background",
    "f1": "F1",
    "abs_rel": "relative error",
    "rmse": "RMS error",
    "mae": "absolute error",
    "delta1": "share within 1.25",
    "angular_error": "angular error",
    "within_11_25": "share within 11.25°",
}
_SHARES = {
    "miou",
    "miou_foreground",
    "iou",
    "accuracy",
    "accuracy_foreground",
    "mean_accuracy",
    "f1",
    "delta1",
    "within_11_25",
}
_CONDITIONS = {
    "clean": "no attack",
    "noise": "random noise",
    "fgsm": "FGSM",
    "pgd": "PGD",
    "apgd": "APGD",
    "sweep": "sweep of radii: APGD",
    "sea": "SEA",
    "square": "Square",
    "autoattack": "AutoAttack",
    "segpgd": "SegPGD",
    "bim": "BIM",
    "mim": "MIM",
    "houdini": "Houdini",
    "cospgd": "CosPGD",
    "fgsm_tasks": "FGSM on several tasks",
    "bim_tasks": "BIM on several tasks",
    "pgd_tasks": "PGD on several tasks",
    "mim_tasks": "MIM on several tasks",
    "pgd_seed": "PGD as released",
    "mim_seed": "MIM as released",
    "houdini_seed": "Houdini as released",
    "mtrobust_pgd": "PGD as released for Cityscapes",
    "mtrobust_mim": "MIM as released for Cityscapes",
    "mtrobust_houdini": "Houdini as released for Cityscapes",
    "pgd_seed_tasks": "PGD as released on several tasks",
    "mim_seed_tasks": "MIM as released on several tasks",
    "mtrobust_pgd_tasks": "PGD as released for Cityscapes on several tasks",
    "mtrobust_mim_tasks": "MIM as released for Cityscapes on several tasks",
    "apgd_tasks": "APGD on several tasks",
    "apgd_tasks_unit_gradient": "APGD on several tasks, unit gradients",
    "apgd_tasks_loss_ratio": "APGD on several tasks, loss ratios",
    "apgd_tasks_worst_task": "APGD on several tasks, worst task",
    "worst_case": "worst case of all",
}
_UNITS = {"angular_error": "degrees", "rmse": "metres"}


def is_share(score: str) -> bool:
    """Whether a score lies in [0, 1] and reads as a percentage."""
    return score in _SHARES


def score_name(score: str) -> str:
    """What a reader calls a score.

    Example:
        >>> score_name("miou"), score_name("my_score")
        ('mIoU', 'my score')
    """
    return _SCORE_NAMES.get(score, score.replace("_", " "))


def format_score(score: str, value: float | None) -> str:
    """A score as text: shares in percent, the rest with three significant digits.

    Example:
        >>> format_score("miou", 0.3125), format_score("abs_rel", 1.0), format_score("f1", None)
        ('31.2 %', '1.00', '-')
    """
    if value is None or math.isnan(value):
        return MISSING
    return f"{100 * value:.1f} %" if is_share(score) else f"{value:#.3g}".rstrip(".")


def format_gain(score: str, value: float | None) -> str:
    """A difference of scores with its sign; shares in points.

    Example:
        >>> format_gain("miou", 0.05), format_gain("abs_rel", 0.01)
        ('+5.0 points', '+0.01')
    """
    if value is None or math.isnan(value):
        return MISSING
    size = f"{100 * abs(value):.1f} points" if is_share(score) else f"{abs(value):.3g}"
    return f"{MINUS if value < 0 else '+'}{size}"


def metric_parts(metric: str) -> tuple[str, str, str]:
    """Task, kind and score of ``segmentation/robust/miou``; a name of another form is a score."""
    parts = metric.split("/")
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else ("", "", metric)


def metric_title(metric: str, direction: Direction = "maximize") -> str:
    """The name of a metric with its unit, for an axis or a column.

    Example:
        >>> metric_title("depth/robust/rmse", "minimize")
        'robust RMS error (metres, lower is better)'
    """
    _, kind, score = metric_parts(metric)
    notes = [note for note in [_UNITS.get(score)] if note]
    if direction == "minimize":
        notes.append("lower is better")
    suffix = f" ({', '.join(notes)})" if notes else ""
    return f"{kind} {score_name(score)}{suffix}".strip()


def format_epsilon(epsilon: float) -> str:
    """A radius as the field writes it, in 255ths where that is short.

    Example:
        >>> format_epsilon(8 / 255), format_epsilon(0.0), format_epsilon(0.5)
        ('8/255', '0', '0.5')
    """
    levels = epsilon * 255
    is_short = levels < 64 and abs(2 * levels - round(2 * levels)) < 1e-3
    if epsilon == 0 or not is_short:
        return f"{epsilon:.3g}"
    return f"{levels:.4g}/255"


def format_radius(norm: str, epsilon: float) -> str:
    """A radius with its norm, where that is not the usual one.

    Example:
        >>> format_radius("linf", 8 / 255), format_radius("l2", 0.5)
        ('8/255', '0.5 in L2')
    """
    return f"{epsilon:.3g} in L2" if norm == "l2" and epsilon else format_epsilon(epsilon)


def condition_name(condition: str) -> str:
    """What a reader calls a condition of an evaluation, or one attack of an ensemble.

    Example:
        >>> condition_name("clean"), condition_name("sea/jensen_shannon")
        ('no attack', 'SEA: jensen shannon')
    """
    name, _, member = condition.partition("/")
    known = _CONDITIONS.get(name, name.replace("_", " "))
    return f"{known}: {member.replace('_', ' ')}" if member else known


def format_seconds(seconds: float) -> str:
    """A duration.

    Example:
        >>> format_seconds(0.14), format_seconds(75), format_seconds(3700)
        ('0.14 s', '1 min 15 s', '1 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_bytes(size: int) -> str:
    """A size of memory.

    Example:
        >>> format_bytes(1_610_612_736)
        '1.5 GiB'
    """
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def format_value(key: str, value: Any) -> str:
    """A drawn value by its key: radii in 255ths, numbers with three digits.

    Example:
        >>> format_value("adversary.epsilon", 4 / 255), format_value("loss_weights.depth", 0.12345)
        ('4/255', '0.123')
    """
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        name = key.rpartition(".")[2]
        return format_epsilon(value) if name in ("epsilon", "step_size") else f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value) or "none"
    return str(value)


def attack_name(attack: str, steps: int) -> str:
    """An attack with its effort.

    Example:
        >>> attack_name("pgd", 10), attack_name("fgsm", 1)
        ('PGD-10', 'FGSM')
    """
    named = attack.upper() if attack in ("pgd", "apgd", "fgsm") else condition_name(attack)
    return f"{named}-{steps}" if steps > 1 else named


def budget_text(section: Mapping[str, Any]) -> str:
    """The attack of an ``adversary`` or ``validation`` section in a few words.

    Example:
        >>> budget_text({"attack": "pgd", "epsilon": 4 / 255, "steps": 3})
        'PGD-3 at ε = 4/255'
    """
    attack = str(section.get("attack", "none"))
    if attack == "none":
        return "no attack"
    name = attack_name(attack, 1 if attack == "fgsm" else int(section.get("steps", 1)))
    norm = " (L2)" if section.get("norm") == "l2" else ""
    return f"{name} at ε = {format_epsilon(float(section.get('epsilon', 0)))}{norm}"
