"""The answer of a study in words: what won, by how much, against what, and how sure that is."""

from collections import Counter
from dataclasses import dataclass

from taskgroup.analysis.groups import Group, group_of
from taskgroup.analysis.tables.evaluations import row_score
from taskgroup.results.records import EvaluationRow, TrialResult
from taskgroup.study.study import Study
from taskgroup.wording import (
    argument,
    budget_text,
    counted,
    format_difference,
    format_gain,
    format_number,
    format_score,
    format_seconds,
    listed,
    score_name,
)

FEW_IMAGES = 100
"""Below about as many scored images, only large differences can be told from chance."""
NOT_CONFIRMED = (
    "Not confirmed: one seed per trial, and the winner was selected on the validation scores "
    "shown here, so they are optimistic."
)


@dataclass(frozen=True)
class Standing:
    """The winner or a baseline in the comparison.

    Attributes:
        number: Number of the trial.
        label: What a reader calls it.
        group: Its part in the study.
        clean: Main score without attack on the validation split.
        robust: The same under the attack of the search, as text; a bound where it is void.
        gain: Robust score of the winner minus this one's, positive where the winner is better.
    """

    number: int
    label: str
    group: Group
    clean: float | None
    robust: str
    gain: float | None


@dataclass(frozen=True)
class Headline:
    """The answer; texts are plain, not HTML.

    Attributes:
        title: The answer in one line.
        sentences: What won, at which settings, and how it scores.
        standings: The winner, then the complete baselines by number.
        facts: Counts, overhead and rule as pairs of name and value.
        commands: What to run next or again, as pairs of purpose and command.
    """

    title: str
    sentences: tuple[str, ...]
    standings: tuple[Standing, ...]
    facts: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...]


def collect_headline(study: Study) -> Headline:
    """Put the answer of a study into words."""
    best = study.best
    if best is None:
        title = "No answer yet"
        sentences: tuple[str, ...] = (_no_answer(study),)
    else:
        title = _title(study, best)
        sentences = (
            *_reversed(study, best),
            *_undecided(study, best),
            _settings(best),
            _scores(study, best),
            *_tested(study, best),
        )
    return Headline(title, sentences, _standings(study), _facts(study), _commands(study))


def _title(study: Study, best: TrialResult) -> str:
    if study.is_void(best):
        return f"No answer: the robustness of trial {best.number} cannot be judged"
    rival = study.rival
    if rival is not None and not study.is_apart(best, rival):
        return f"No difference found: {_networks(best)} and {_networks(rival)}"
    return f"Most robust trial: {_networks(best)}"


def _networks(trial: TrialResult) -> str:
    """What a trial trained, in words."""
    if not trial.auxiliary_tasks:
        return f"{trial.main_task} alone"
    return f"{trial.main_task} with {listed(trial.auxiliary_tasks)}"


def _no_answer(study: Study) -> str:
    reasons = Counter(t.reason for t in study.searched if t.status == "failed" and t.reason)
    if study.infeasible:
        return "No complete trial satisfies the constraint on the clean score."
    worst = "".join(f" {count} failed: {why}." for why, count in reasons.most_common(2))
    return f"Complete trials: none of {len(study.searched)}.{worst}"


def _settings(best: TrialResult) -> str:
    adversary = best.config.get("adversary") or {}
    weights = best.config.get("loss_weights") or {}
    named = ", ".join(f"{task} {format_number(weight)}" for task, weight in weights.items())
    words = f", loss weights {named} (main task 1)" if named else ""
    how = f"on {budget_text(adversary)}" if best.is_adversarial else "without attacks"
    return f"Trial {best.number}, {best.label}, trained {how}{words}."


def _scores(study: Study, best: TrialResult) -> str:
    score = study.robust.score_name
    robust = study.score_text(study.robust, best)
    clean = format_score(score, study.score(study.clean, best))
    attack = budget_text(best.config.get("validation") or {})
    return (
        f"On the validation split: {score_name(score)} {robust} under {attack}, "
        f"{clean} without attack{_means(study, best)}.{_void_text(study, best)}"
    )


def _means(study: Study, best: TrialResult) -> str:
    """That scores are means over seeds; empty where they are those of one trial."""
    seeds = len(study.configuration(best).members)
    return f", means of {seeds} seeds" if seeds > 1 else ""


def _void_text(study: Study, best: TrialResult) -> str:
    found = study.finding(best)
    return "" if found is None else f" Warning: {found.finding}."


def _undecided(study: Study, best: TrialResult) -> tuple[str, ...]:
    """By how little the best trial leads, where a claim about task sets could be read into it."""
    rival = study.rival
    if rival is None or study.is_void(best) or study.is_apart(best, rival):
        return ()
    first = study.objectives[0]
    gap = format_difference(first.metric, abs(study.difference(first, best, rival)))
    ours, theirs = (
        counted(len(study.configuration(trial).members), "seed") for trial in (best, rival)
    )
    seeds = f"{ours} each" if ours == theirs else f"{ours} and {theirs}"
    winner = _networks(best)
    return (
        f"{winner[:1].upper()}{winner[1:]} (trial {best.number}) and {_networks(rival)} (trial "
        f"{rival.number}) differ by {gap} in the search, with {seeds}: nothing shows that "
        "this is more than chance.",
    )


def _test_rows(study: Study, best: TrialResult) -> dict[str, EvaluationRow]:
    """The winner's rows on the test split by condition, the run's own ball first."""
    score = study.robust.score_name
    own: dict[str, EvaluationRow] = {}
    for row in study.evaluations:
        same = (row.trial, row.task, row.score_name) == (best.number, best.main_task, score)
        if same and row.split == "test":
            own.setdefault(row.condition, row)
    return own


def _tested(study: Study, best: TrialResult) -> tuple[str, ...]:
    """The winner's test scores, once it was evaluated."""
    own = _test_rows(study, best)
    hardest = own.get("worst_case")
    if hardest is None or "clean" not in own:
        return ()
    verdict = "" if hardest.verdict == "ok" else f" Warning: {hardest.verdict}."
    few = " So few images cannot tell networks apart." if hardest.images < FEW_IMAGES else ""
    return (
        f"On {hardest.images} test images that the search never saw: {row_score(hardest)} "
        f"under the worst of all attacks, {row_score(own['clean'])} without attack.{few}{verdict}",
    )


def _reversed(study: Study, best: TrialResult) -> tuple[str, ...]:
    """Who beats the winner under strong attacks, so that the order of the search does not hold."""
    winner = _test_rows(study, best).get("worst_case")
    if winner is None or winner.is_bound:
        return ()
    same = ("condition", "task", "score_name", "norm", "epsilon", "split", "suite", "images")
    sign = -1 if winner.direction == "minimize" else 1
    better = [
        row
        for row in study.evaluations
        if all(getattr(row, name) == getattr(winner, name) for name in same)
        and row.role != "other"
        and sign * row.score > sign * winner.score
        and not row.is_bound
    ]
    if not better:
        return ()
    first = max(better, key=lambda row: sign * row.score)
    return (
        f"The order of the search does not hold under strong attacks: {first.label} "
        f"(trial {first.trial}) keeps {row_score(first)}, the winner {row_score(winner)}.",
    )


def _standings(study: Study) -> tuple[Standing, ...]:
    best = study.best
    if best is None:
        return ()
    baselines = [trial for trial in study.baselines if trial.number != best.number]
    return tuple(_standing(study, trial, best) for trial in (best, *baselines))


def _standing(study: Study, trial: TrialResult, best: TrialResult) -> Standing:
    is_known = study.score(study.robust, trial) is not None
    is_known = is_known and not (study.is_void(best) or study.is_void(trial))
    difference = study.difference(study.robust, best, trial)
    gain = study.robust.sign * difference if is_known else None
    return Standing(
        number=trial.number,
        label=trial.label,
        group=group_of(trial, best),
        clean=study.score(study.clean, trial),
        robust=study.score_text(study.robust, trial),
        gain=None if trial.number == best.number else gain,
    )


def _facts(study: Study) -> tuple[tuple[str, str], ...]:
    counts = Counter[str](trial.status for trial in study.searched)
    statuses = ("complete", "pruned", "failed", "interrupted")
    ends = ", ".join(f"{counts[status]} {status}" for status in statuses if counts[status])
    mean = study.engine_overhead
    overhead = "not measured" if mean is None else f"{format_seconds(mean)} per trial"
    dataset = study.space.get("dataset")
    name = dataset.get("name", "-") if isinstance(dataset, dict) else "-"
    return (
        ("trials", f"{len(study.searched)} ({ends or 'none started'})"),
        ("data set", str(name)),
        ("training time", format_seconds(sum(trial.seconds for trial in study.searched))),
        ("engine overhead", overhead),
        ("winner chosen by", study.rule),
        *_constraint(study),
        ("versions", _versions(study)),
    )


def _constraint(study: Study) -> tuple[tuple[str, str], ...]:
    """Who exceeds the study's constraint, if it has one."""
    if study.max_clean_drop is None:
        return ()
    if not study.limits:
        return (("constraint", "not applied: the natural single-task baseline is not complete"),)
    beyond = ", ".join(f"trial {trial.number}" for trial in study.infeasible)
    return (("infeasible", beyond or "none of the complete trials"),)


def _versions(study: Study) -> str:
    found = dict.fromkeys(pair for trial in study.searched for pair in trial.versions.items())
    return ", ".join(f"{name} {version}" for name, version in found) or "not recorded"


def _commands(study: Study) -> tuple[tuple[str, str], ...]:
    if study.has_only_failures:
        return (
            ("read why every trial failed", f"taskgroup runs show {argument(study.place)}"),
            *([("correct the space and go on", study.repair)] if study.repair else []),
        )
    return (
        ("train the best again, with several seeds", f"taskgroup confirm {argument(study.place)}"),
        (
            "attack the winner and the baselines",
            f"taskgroup evaluate best --run {argument(study.place)}",
        ),
        ("write this report again", f"taskgroup report --run {argument(study.place)}"),
        ("search again", f"taskgroup search --space {argument(study.place + '/space.yaml')}"),
    )


def gain_text(study: Study, gain: float | None) -> str:
    """A gain in the unit of the robust score."""
    return format_gain(study.robust.score_name, gain)
