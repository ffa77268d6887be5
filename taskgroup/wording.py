"""How numbers and names read, on pages and terminals alike: scores, radii, durations, attacks."""

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from taskgroup.results.records import Direction

MISSING = "-"
MINUS = "\N{MINUS SIGN}"
TO = "\N{EN DASH}"

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
    "apgd_targeted": "targeted APGD",
    "apgd_metrics": "APGD on every score",
    "tempered": "tempered ensemble",
    "straight_through": "straight-through copy",
    "sweep": "sweep of radii: APGD",
    "sea": "SEA",
    "square": "Square",
    "autoattack": "AutoAttack",
    "segpgd": "SegPGD",
    "bim": "BIM",
    "mim": "MIM",
    "houdini": "Houdini",
    "cospgd": "CosPGD",
    "padam_ce": "PAdam-CE",
    "padam_cos": "PAdam-Cos",
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
    "apgd_tasks_sum": "APGD on several tasks, sum of losses",
    "apgd_tasks_unit_gradient": "APGD on several tasks, unit gradients",
    "apgd_tasks_loss_ratio": "APGD on several tasks, WGD",
    "apgd_tasks_worst_task": "APGD on several tasks, worst task",
    "worst_case": "worst case of all",
}
_MEMBERS = {
    "adam_masked_balanced_cross_entropy": "Adam on balanced cross-entropy",
    "apgd_sigmoid_margin": "APGD on the sigmoid margin",
}
_UNITS = {"angular_error": "degrees", "rmse": "metres"}
_SETTINGS = {
    "loss_weights.shared": "auxiliary weights together",
    "loss_weights": "auxiliary weights",
}


def is_share(metric: str) -> bool:
    """Whether a score, given alone or as the last part of a metric, reads as a percentage."""
    return _score(metric) in _SHARES


def _score(metric: str) -> str:
    return metric.rpartition("/")[2]


def score_name(score: str) -> str:
    """What a reader calls a score.

    Example:
        >>> score_name("miou"), score_name("my_score")
        ('mIoU', 'my score')
    """
    return _SCORE_NAMES.get(score, score.replace("_", " "))


def format_number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, and all of them before the point.

    Example:
        >>> format_number(0.12345), format_number(1234.5), format_number(-2), format_number(None)
        ('0.123', '1234', '\N{MINUS SIGN}2', '-')
    """
    if value is None or math.isnan(value):
        return MISSING
    size = abs(value)
    text = f"{size:.{digits}g}"
    text = f"{size:.0f}" if "e+" in text else text
    return f"{MINUS if value < 0 else ''}{text}"


def format_decimals(value: float | None, places: int = 2) -> str:
    """A number that stands among others of its kind, all with so many decimals.

    Example:
        >>> format_decimals(0.5), format_decimals(-0.091), format_decimals(-0.001)
        ('0.50', '\N{MINUS SIGN}0.09', '0.00')
    """
    if value is None or math.isnan(value):
        return MISSING
    text = f"{abs(value):.{places}f}"
    return f"{MINUS if value < 0 and float(text) else ''}{text}"


def format_score(metric: str, value: float | None) -> str:
    """A score as text: shares in percent, the rest with three significant digits.

    Args:
        metric: Name of the score, alone or as the last part of a metric.
        value: The score, a share as a fraction.

    Example:
        >>> format_score("segmentation/robust/miou", 0.3125), format_score("abs_rel", 1.0)
        ('31.2 %', '1.00')
    """
    if value is None or math.isnan(value):
        return MISSING
    if is_share(metric):
        return f"{format_decimals(100 * value, 1)} %"
    sign, text = MINUS if value < 0 else "", f"{abs(value):#.3g}".rstrip(".")
    return format_number(value) if "e+" in text else sign + text


def format_bound(metric: str, value: float | None, *, direction: str) -> str:
    """A score of which only one side is known: a better attack would leave less.

    Example:
        >>> format_bound("miou", 0.3125, direction="maximize")
        'at most 31.2 %'
    """
    side = "at most" if direction == "maximize" else "at least"
    return f"{side} {format_score(metric, value)}"


def format_gain(metric: str, value: float | None) -> str:
    """A difference of scores with its sign; shares in points.

    Example:
        >>> format_gain("miou", 0.05), format_gain("abs_rel", 0.01)
        ('+5.0 points', '+0.01')
        >>> format_gain("miou", -0.0001)
        '0.0 points'
    """
    if value is None or math.isnan(value):
        return MISSING
    size = abs(value)
    text = f"{100 * size:.1f} points" if is_share(metric) else format_number(size)
    return _sign(value, text) + text


def format_difference(metric: str, value: float) -> str:
    """A difference of scores whose direction the sentence tells, ``2.0 points``."""
    return format_gain(metric, value).removeprefix("+")


def format_change(fraction: float) -> str:
    """A change as a fraction of what it changes, in percent with its sign.

    Example:
        >>> format_change(0.1234)
        '+12.3 %'
    """
    text = f"{100 * abs(fraction):.1f} %"
    return MISSING if math.isnan(fraction) else _sign(fraction, text) + text


def _sign(value: float, text: str) -> str:
    """The sign of a number that reads ``text`` without it; none where that is zero."""
    if not float(text.partition(" ")[0]):
        return ""
    return MINUS if value < 0 else "+"


def with_interval(value: str, low: str, high: str) -> str:
    """A number with its interval, whose ends leave the unit out; alone where there is none.

    Example:
        >>> with_interval("31.2 %", "29.0 %", "33.1 %"), with_interval("+1.0 points", "-", "-")
        ('31.2 % (29.0\N{EN DASH}33.1)', '+1.0 points')
    """
    if MISSING in (value, low, high):
        return value
    return f"{value} ({interval(low, high)})"


def interval(low: str, high: str) -> str:
    """An interval: a dash between its ends, a word where one has a sign.

    Example:
        >>> interval("29.0 %", "33.1 %"), interval("+0.1", "+0.2")
        ('29.0\N{EN DASH}33.1', '+0.1 to +0.2')
    """
    low, high = (end.partition(" ")[0] for end in (low, high))
    has_sign = {low[0], high[0]} & {MINUS, "+"}
    return f"{low} to {high}" if has_sign else f"{low}{TO}{high}"


def score_interval(metric: str, value: float, low: float, high: float) -> str:
    """A score with the ends of its interval, NaN where there is none."""
    return with_interval(*(format_score(metric, number) for number in (value, low, high)))


def gain_interval(metric: str, value: float, low: float, high: float) -> str:
    """A difference of scores with the ends of its interval, NaN where there is none."""
    return with_interval(*(format_gain(metric, number) for number in (value, low, high)))


def decimal_interval(value: float, low: float, high: float) -> str:
    """A number such as a correlation with the ends of its interval, NaN where there is none.

    Example:
        >>> decimal_interval(0.5, -0.2, 0.9)
        '0.50 (\N{MINUS SIGN}0.20 to 0.90)'
    """
    return with_interval(*(format_decimals(number) for number in (value, low, high)))


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
    """A radius as the field writes it: in 255ths, and large ones as they are.

    Example:
        >>> format_epsilon(8 / 255), format_epsilon(0.0), format_epsilon(0.5)
        ('8/255', '0', '0.5')
    """
    levels = epsilon * 255
    return f"{levels:.3g}/255" if 0 < levels < 64 else format_number(epsilon)


def format_radius(norm: str, epsilon: float) -> str:
    """A radius with its norm, where that is not the usual one.

    Example:
        >>> format_radius("linf", 8 / 255), format_radius("l2", 0.5), format_radius("l1", 12.0)
        ('8/255', '0.5 in L2', '12 in L1')
    """
    if norm == "linf" or not epsilon:
        return format_epsilon(epsilon)
    return f"{format_number(epsilon)} in {norm.upper()}"


def condition_name(condition: str) -> str:
    """What a reader calls a condition of an evaluation, or one attack of an ensemble.

    Example:
        >>> condition_name("clean"), condition_name("sea/jensen_shannon")
        ('no attack', 'SEA: jensen shannon')
    """
    name, _, member = condition.partition("/")
    known = _CONDITIONS.get(name, name.replace("_", " "))
    return f"{known}: {_MEMBERS.get(member, member.replace('_', ' '))}" if member else known


def format_seconds(seconds: float) -> str:
    """A duration in its two largest units.

    Example:
        >>> format_seconds(0.14), format_seconds(75), format_seconds(3700)
        ('0.14 s', '1 min 15 s', '1 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{round(seconds, 2):.2g} s"
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
        return format_epsilon(value) if name in ("epsilon", "step_size") else format_number(value)
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value) or "none"
    return str(value)


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """The drawn values of a trial but for its task set, loss weights first and by task.

    Example:
        >>> parameters_text({"training.learning_rate": 0.01, "loss_weights.depth": 0.12345})
        'depth 0.123, learning rate 0.01'
    """
    weights = [key for key in parameters if key.startswith("loss_weights.")]
    others = [key for key in parameters if not key.startswith(("loss_weights.", "auxiliary_tasks"))]
    return ", ".join(setting_text(key, parameters[key]) for key in (*weights, *others))


def setting_text(key: str, value: Any) -> str:
    """A key's last part with its value, ``width 8``; of all weights together it is spelled out."""
    name = {
        "loss_weights.shared": "auxiliary weights together",
        "loss_weights": "auxiliary weights",
    }
    return f"{name.get(key, key.rpartition('.')[2].replace('_', ' '))} {format_value(key, value)}"


def task_set_text(tasks: Sequence[str]) -> str:
    """The name of a task set, its main task first.

    Example:
        >>> task_set_text(["segmentation", "depth", "edges"])
        'segmentation+depth+edges'
    """
    return "+".join(tasks)


def argument(value: str) -> str:
    """A value as an argument of a command that a reader may paste into a shell.

    Example:
        >>> argument("runs/a b"), argument("runs/a")
        ("'runs/a b'", 'runs/a')
    """
    return shlex.quote(value)


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    Example:
        >>> listed(["depth", "edges", "normals"])
        'depth, edges and normals'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def plural(count: float, noun: str) -> str:
    """A noun behind a number.

    Example:
        >>> plural(1, "trial"), plural(0, "trial"), plural(0.5, "GPU")
        ('trial', 'trials', 'GPUs')
    """
    return noun if count == 1 else f"{noun}s"


def counted(count: int, noun: str) -> str:
    """A number of things.

    Example:
        >>> counted(1, "test image"), counted(3, "test image")
        ('one test image', '3 test images')
    """
    return f"{'one' if count == 1 else count} {plural(count, noun)}"


def first_images(count: int) -> str:
    """Those that a condition was measured on, where another one has more.

    Example:
        >>> first_images(1), first_images(64)
        ('first image', 'first 64 images')
    """
    return "first image" if count == 1 else f"first {count} images"


def breakable(text: str) -> str:
    """Names of task sets, so that a line may end between two tasks.

    Example:
        >>> breakable("segmentation+depth, +0.1")
        'segmentation +depth, +0.1'
    """
    return re.sub(r"(?<=\w)\+(?=[a-z])", " +", text)


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
    norm = str(section.get("norm", "linf"))
    suffix = "" if norm == "linf" else f" ({norm.upper()})"
    return f"{name} at ε = {format_epsilon(float(section.get('epsilon', 0)))}{suffix}"
