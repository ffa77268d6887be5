"""Which attacks fit which tasks, known before a network is built or an image is read."""

from collections.abc import Mapping

from taskgroup.attacks.base import AttackBudget, Predicts, ThreatModel
from taskgroup.errors import ConfigError

NEEDS: Mapping[str, Predicts] = {
    "sea": "class_map",
    "tempered": "class_map",
    "segpgd": "class_map",
    "cospgd": "class_map",
    "cospgd_softmax": "class_map",
    "padam_ce": "class_map",
    "padam_cos": "class_map",
    "houdini": "class_map",
    "houdini_seed": "class_map",
    "mtrobust_houdini": "class_map",
    "autoattack": "class",
    "apgd_targeted": "class",
    "apgd_metrics": "numbers",
}
"""What the attacked task must predict; every other attack takes any task."""
WITHOUT_L1 = frozenset({"autoattack", "padam_ce", "padam_cos", "square", "tempered"})
"""Attacks that have no step for an l1 ball."""
LEAST_CLASSES = 2
"""Classes that attacks of one class per image need: one to leave and one to reach."""
WORDS: Mapping[Predicts, str] = {
    "class_map": "a class per pixel",
    "class": "one class per image",
    "numbers": "numbers",
}
INSTEAD: Mapping[Predicts, str] = {
    "class_map": "sea or tempered",
    "class": "autoattack or apgd",
    "numbers": "apgd_metrics or apgd",
}
KNOWN_BUGS = frozenset(
    {"bim", "cospgd", "cospgd_softmax", "fgsm", "houdini", "houdini_seed", "mim", "mim_seed"}
    | {"mtrobust_houdini", "mtrobust_mim", "mtrobust_pgd", "pgd", "sea", "segpgd"}
)
"""Attacks whose published code has bugs that ``seed_compatible`` reproduces."""


def check_seed_compatible(attack: str, budget: AttackBudget) -> None:
    """Refuse ``seed_compatible`` for an attack that has no known bug to reproduce.

    Raises:
        ConfigError: It is asked for.
    """
    if budget.seed_compatible and attack not in KNOWN_BUGS:
        raise ConfigError(
            f"seed_compatible must be false for attack {attack!r}, whose published code has no "
            f"known bug to reproduce; remove it, or choose one of: {', '.join(sorted(KNOWN_BUGS))}"
        )


def check_norm(attack: str, threat: ThreatModel) -> None:
    """Refuse an attack in a ball that it has no step for.

    Raises:
        ConfigError: The norm is l1, and the attack exists for linf and l2 only.
    """
    if threat.norm == "l1" and attack in WITHOUT_L1:
        raise ConfigError(
            f"attack {attack!r} must go with norm linf or l2, got l1; choose apgd, which has steps "
            "for it"
        )


def check_fit(attack: str, predicts: Predicts, *, num_classes: int | None = None) -> None:
    """Refuse an attack that does not fit its task.

    Args:
        attack: Registry name of the attack.
        predicts: What the attacked task predicts.
        num_classes: Its number of classes; None where it has none or nobody knows yet.

    Raises:
        ConfigError: The attack needs another kind of task, or more classes.
    """
    needed = NEEDS.get(attack)
    if needed is not None and predicts != needed:
        raise ConfigError(
            f"attack {attack!r} needs {WORDS[needed]}, but the attacked task predicts "
            f"{WORDS[predicts]}; choose {INSTEAD[predicts]}"
        )
    if needed == "class" and num_classes is not None and num_classes < LEAST_CLASSES:
        raise ConfigError(
            f"attack {attack!r} needs at least {LEAST_CLASSES} classes, got {num_classes}; choose "
            "a main task that has them"
        )
