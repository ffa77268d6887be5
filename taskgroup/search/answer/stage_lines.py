"""What the proxy and confirm stages found, in lines for a terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence

from taskgroup.results.records import TrialResult
from taskgroup.study.agreement import agreement_text, proxy_agreement
from taskgroup.study.confirmation import (
    NO_SUITE,
    Confirmed,
    MeanInterval,
    SuiteScores,
    attack_words,
    best_alone,
    confirmed_task_sets,
    verdict_text,
)
from taskgroup.study.objectives import StudyObjective
from taskgroup.wording import format_score, gain_interval, score_interval


def stage_counts(trials: Sequence[TrialResult]) -> str:
    """How many trials ended in each stage; empty where there was only the search."""
    names = {"proxy": "on the stand-in", "search": "in the search", "confirm": "to confirm"}
    counts = Counter[str](t.stage for t in trials if t.status != "interrupted")
    if set(counts) <= {"search"}:
        return ""
    return ", ".join(f"{counts[stage]} {name}" for stage, name in names.items() if counts[stage])


def proxy_lines(trials: Sequence[TrialResult], objective: StudyObjective) -> list[str]:
    """Whether the stand-in ranked trials as the real setting does; empty without a proxy stage."""
    if not any(trial.stage == "proxy" for trial in trials):
        return []
    found = agreement_text(proxy_agreement(trials, objective))
    return ["", f"Proxy against real setting, {objective.metric}: {found}"]


def confirm_lines(
    trials: Sequence[TrialResult],
    objectives: Sequence[StudyObjective],
    suite: SuiteScores = NO_SUITE,
) -> list[str]:
    """Means, intervals and paired differences of the confirm stage; empty without one."""
    found = confirmed_task_sets(trials, objectives, suite)
    if not found:
        return []
    seeds = max(group.scores[0].seeds for group in found)
    metric = objectives[0].metric
    head = f"Confirm stage: {metric} on the confirm split, mean of {seeds} seeds"
    lines = ["", f"{head} (95 % t interval over seeds):", f"  {attack_words(metric, suite)}"]
    for group in found:
        lines += _group_lines(group, metric)
    return [*lines, *_alone_line(found, objectives[0])]


def unscored_lines(suite: SuiteScores, problems: Mapping[int, str], place: str) -> list[str]:
    """Which confirmations the suite has not scored, and how to go on; empty where none is left."""
    first = next(iter(problems.values()), "")
    lines = [f"  {len(problems)} could not be scored and are left out: {first}"] if first else []
    waiting = [number for number in suite.missing if number not in problems]
    if waiting:
        lines.append(
            f"  {len(waiting)} confirmations are not scored by suite {suite.suite} yet and left "
            f"out; go on with: taskgroup confirm {place}"
        )
    return lines


def is_confirmed(trials: Sequence[TrialResult]) -> bool:
    """Whether a confirm stage has measured anything."""
    return any(trial.stage == "confirm" and trial.status == "complete" for trial in trials)


def _group_lines(group: Confirmed, metric: str) -> list[str]:
    first = group.first
    is_partner = first.label.endswith(f"trial {first.parent}")
    name = first.label if is_partner else f"{first.label} (trial {first.parent})"
    score = group.scores[0]
    lines = [f"  {name}: {_measured(score, score_interval(metric, *score[:3]))}"]
    if group.partner is not None:
        gain = group.differences[0]
        difference = _measured(gain, gain_interval(metric, *gain[:3]))
        lines.append(f"    {difference} against {group.partner.label}, the same recipe and seeds")
        lines.append(f"    {verdict_text(group)}")
    return lines + [f"    {suspicion}" for suspicion in group.suspicions]


def _alone_line(found: Sequence[Confirmed], objective: StudyObjective) -> list[str]:
    """The best recipe of the main task alone, which a task set should beat as well."""
    best = best_alone(found, objective)
    if best is None:
        return []
    mean = format_score(objective.metric, best.scores[0].mean)
    return [f"  best without auxiliary tasks: {best.first.label}, {mean}"]


def _measured(found: MeanInterval, text: str) -> str:
    """The text of a mean over seeds, or what there is in its place."""
    if found.seeds == 0:
        return "not measured"
    return text if found.low == found.low else f"{text} (one seed, no interval)"
