"""The last words of a search: the answer, how sure it is, where it lies, what to do next."""

from collections import Counter
from collections.abc import Sequence

from taskgroup.results.records import TrialResult
from taskgroup.search.answer.result import SearchResult
from taskgroup.search.plan.baselines import ADVERSARIAL_LABEL, ALL_LABEL, NATURAL_LABEL
from taskgroup.study.agreement import agreement_line, agreement_text
from taskgroup.study.confirmation import (
    Confirmed,
    attack_words,
    best_alone,
    correction_text,
    verdict_text,
)
from taskgroup.study.seed_means import MeanInterval
from taskgroup.study.study import Study
from taskgroup.wording import (
    argument,
    counted,
    format_difference,
    format_gain,
    format_score,
    format_seconds,
    gain_interval,
    listed,
    parameters_text,
    plural,
    score_interval,
)

REFERENCES = (NATURAL_LABEL, ADVERSARIAL_LABEL, ALL_LABEL)
STAGES = {"proxy": "on the stand-in", "search": "in the search", "confirm": "in the confirm stage"}


def summary(result: SearchResult, report: str | None = None) -> str:
    """The last words of a search, several lines.

    Args:
        result: What it found.
        report: Where the report lies, if one was written.
    """
    study = result.study
    blocks = [
        _counts(result),
        *(_no_answer(study) if study.best is None else _answer(result, study.best)),
        *_constraint(study),
        *_rungs(result),
        *_places(result, report),
        *_next_commands(result),
    ]
    return "\n".join(blocks)


def _counts(result: SearchResult) -> str:
    counts = Counter[str](trial.status for trial in result.study.trials)
    parts = ", ".join(f"{counts[key]} {key}" for key in ("complete", "pruned", "failed"))
    ended = counts.total() - counts["interrupted"]
    trials = f"{result.total} {plural(result.total, 'trial')}"
    words = f"{ended} of {trials} ({parts}) in {format_seconds(result.seconds)}"
    words += _stage_counts(result.study)
    if result.is_over_budget:
        return f"Stopped by search.max_seconds after {words}."
    if result.left_out:
        words += (
            ". Every configuration of the space has been tried, "
            f"{result.left_out} fewer than search.trials"
        )
    return f"Stopped after {words}." if result.is_interrupted else f"Done: {words}."


def _stage_counts(study: Study) -> str:
    """How many trials ended in each stage; empty where there was only the search."""
    counts = Counter[str](t.stage for t in study.trials if t.status != "interrupted")
    if set(counts) <= {"search"}:
        return ""
    named = [f"{counts[stage]} {name}" for stage, name in STAGES.items() if counts[stage]]
    return f": {', '.join(named)}"


def _answer(result: SearchResult, best: TrialResult) -> list[str]:
    study = result.study
    lines = [
        "",
        f"Best: {_scored(study, best)}",
        f"  {_settings(study, best)}",
        *_seeds(study, best),
        *_findings(study, best),
        *_gains(study, best),
        f"  chosen by: {study.rule}",
        *_doubt(study, best),
        *_proxy(study),
        *_confirmation(study),
        *_unscored(result),
    ]
    if len(study.objectives) > 1:
        lines += ["", "Pareto set:", *(f"  {_scored(study, trial)}" for trial in study.pareto)]
    return lines


def _scored(study: Study, trial: TrialResult) -> str:
    scores = ", ".join(f"{o.metric} {study.score_text(o, trial)}" for o in study.objectives)
    return f"trial {trial.number}, {trial.label}: {scores}{_mean_of(study, trial)}"


def _settings(study: Study, best: TrialResult) -> str:
    """The drawn values of a configuration; without the seed where it has several."""
    drawn = best.parameters
    if len(study.configuration(best).members) > 1:
        drawn = {key: value for key, value in drawn.items() if key != "seed"}
    return parameters_text(drawn)


def _mean_of(study: Study, trial: TrialResult) -> str:
    """That a score is a mean over seeds; empty where it is that of one trial."""
    seeds = len(study.configuration(trial).members)
    return f" (mean of {counted(seeds, 'seed')})" if seeds > 1 else ""


def _seeds(study: Study, best: TrialResult) -> list[str]:
    """Which trials the best one stands for; empty where that is itself alone."""
    own = study.configuration(best).trials
    if len(own) == 1:
        return []
    which = "the baseline" if best.role == "baseline" else "the median"
    numbers = listed([str(number) for number in sorted(trial.number for trial in own)])
    return [
        f"  trials {numbers} differ in their seed alone; "
        f"trial {best.number}, {which}, stands for them with its checkpoint"
    ]


def _gains(study: Study, best: TrialResult) -> list[str]:
    """How the best trial stands against the three fixed references; nowhere where it is void."""
    first = study.objectives[0]
    lines = []
    for trial in study.complete:
        if trial.label not in REFERENCES or trial.number == best.number:
            continue
        gain = format_gain(first.metric, study.difference(first, best, trial))
        if "/robust/" in first.metric and (study.is_void(best) or study.is_void(trial)):
            gain = "cannot be compared"
        score = f"{study.score_text(first, trial)}{_paired(study, best, trial)}"
        lines.append(
            f"  {first.metric} {gain} against trial {trial.number}, {trial.label} ({score})"
        )
    return lines


def _paired(study: Study, best: TrialResult, trial: TrialResult) -> str:
    """By which seeds two configurations are compared; empty where each has but the same one."""
    ours, theirs = (
        {one.seed for one in study.configuration(side).trials} for side in (best, trial)
    )
    if ours == theirs and len(ours) == 1:
        return ""
    mean = f", mean of {counted(len(theirs), 'seed')}" if len(theirs) > 1 else ""
    pairs = f"paired by {counted(len(ours & theirs), 'seed')}" if ours & theirs else "other seeds"
    return f"{mean}, {pairs}"


def _findings(study: Study, best: TrialResult) -> list[str]:
    """What is wrong with the gradients of the answer's networks; mostly nothing."""
    answered = {trial.number: trial for trial in (best, *study.baselines)}
    found = [(trial, study.finding(trial)) for trial in answered.values()]
    return [
        f"  trial {trial.number}: {row.finding}"
        + ("; no robustness is claimed" if row.is_void else "")
        for trial, row in found
        if row is not None
    ]


def _doubt(study: Study, best: TrialResult) -> list[str]:
    """What the scores of a search cannot say, until a confirm stage has."""
    seeds = counted(len(study.configuration(best).members), "seed")
    if study.is_confirmed:
        return [f"  {seeds}, selected on these scores, so optimistic: see the confirm stage"]
    return [
        f"  not confirmed: {seeds}, selected on these validation scores, so optimistic; run "
        f"'taskgroup confirm {argument(study.place)}'",
        "  for several seeds on images that no search sees, and 'taskgroup evaluate best "
        f"--run {argument(study.place)}' for stronger attacks",
    ]


def _proxy(study: Study) -> list[str]:
    """Whether the stand-in ranked trials as the real setting does; empty without a proxy stage."""
    if not study.has_stage("proxy"):
        return []
    found = agreement_text(study.proxy_agreement)
    return ["", f"Proxy against real setting, {study.objectives[0].metric}: {found}"]


def _confirmation(study: Study) -> list[str]:
    """Means, intervals and paired differences of the confirm stage; empty without one."""
    if not study.confirmed:
        return []
    seeds = max(group.scores[0].seeds for group in study.confirmed)
    first = study.objectives[0]
    head = f"Confirm stage: {first.metric} on the confirm split, mean of {counted(seeds, 'seed')}"
    lines = [
        "",
        f"{head} (95 % intervals over seeds and images):",
        f"  {attack_words(first.metric, study.suite)}",
    ]
    for group in study.confirmed:
        lines += _group_lines(group, first.metric)
    alone = best_alone(study.confirmed, first)
    if alone is not None:  # a task set should beat the best recipe of the main task alone as well
        mean = format_score(first.metric, alone.scores[0].mean)
        lines.append(f"  best without auxiliary tasks: {alone.first.label}, {mean}")
    corrected = correction_text(study.confirmed)
    return [*lines, *([f"  {corrected}"] if corrected else [])]


def _group_lines(group: Confirmed, metric: str) -> list[str]:
    score = group.scores[0]
    lines = [f"  {group.name}: {_measured(score, score_interval(metric, *score[:3]))}"]
    if group.partner is not None:
        gain = group.differences[0]
        difference = _measured(gain, gain_interval(metric, *gain[:3]))
        lines.append(f"    {difference} against {group.partner.label}, same recipe and seeds")
        lines.append(f"    {verdict_text(group)}")
    return lines + [f"    {suspicion}" for suspicion in group.suspicions]


def _measured(found: MeanInterval, text: str) -> str:
    """The text of a mean over seeds, or what there is in its place."""
    if found.seeds == 0:
        return "not measured"
    return text if found.low == found.low else f"{text} (no interval)"


def _unscored(result: SearchResult) -> list[str]:
    """Which confirmations the suite has not scored, and how to resume; empty where none is left."""
    suite, problems = result.study.suite, result.unscored
    lines = []
    if problems:
        reason = next(iter(problems.values()))
        count = counted(len(problems), "confirmation")
        lines.append(f"  left out, because they cannot be scored: {count}: {reason}")
    waiting = [number for number in suite.missing if number not in problems]
    if waiting:
        lines.append(
            f"  left out, because suite {suite.suite} has not scored them yet: "
            f"{counted(len(waiting), 'confirmation')}; "
            f"resume with: taskgroup confirm {argument(result.study.place)}"
        )
    return lines


def _no_answer(study: Study) -> list[str]:
    reasons = Counter(t.reason for t in study.trials if t.status == "failed" and t.reason)
    if study.infeasible:
        return ["", "No complete trial is feasible, so there is no answer."]
    lines = ["", "No trial is complete, so there is no answer."]
    return lines + [f"  {count} failed: {why}" for why, count in reasons.most_common(3)]


def _constraint(study: Study) -> list[str]:
    """Which trials gave up too much, or why that is not known."""
    if study.max_clean_drop is None:
        return []
    if not study.limits:
        return [
            "",
            f"Constraint not applied: {NATURAL_LABEL}, whose clean score it refers to, "
            "is not complete",
        ]
    limit = study.limits[0]
    lines = [
        f"  infeasible: trial {trial.number}, {trial.label}: "
        f"{format_difference(limit.objective.metric, limit.drop(*group.trials))} worse"
        + _mean_of(study, trial)
        for trial in study.infeasible
        if trial.number == (group := study.configuration(trial)).first_number
    ]
    head = f"Constraint: {limit.text} ({NATURAL_LABEL})"
    return ["", head, *(lines or ["  every complete trial is feasible"])]


def _rungs(result: SearchResult) -> list[str]:
    """Rank correlation of every rung with the end, with a warning where it is low."""
    agreements = result.agreements
    if not agreements:
        return []
    lines = [f"  {agreement_line(found)}" for found in agreements]
    if any(found.is_low for found in agreements):
        lines.append(
            "  warning: where it is low, rungs stop trials nearly at random; raise "
            "search.grace_epochs, or set search.scheduler to none"
        )
    lines += [
        f"  the rung of epoch {epoch} stops no trial any more: the order there is random"
        for epoch in result.study.random_rungs(result.rungs)
    ]
    spread = result.study.final_spread
    lines += [f"  {spread.text}"] if spread is not None else []
    return ["", "Rank agreement of rungs with the end:", *lines]


def _places(result: SearchResult, report: str | None) -> list[str]:
    best, overhead = result.study.best, result.study.engine_overhead
    lines = ["", f"Run directory: {result.run.place}"]
    if best is not None and best.checkpoint is not None:
        lines.append(f"Checkpoint:    {result.run.place_of(best.checkpoint)}")
    if report is not None:
        lines.append(f"Report:        {report}")
    if overhead is None:
        return [*lines, "Engine overhead: not measured (each trial started a worker of its own)"]
    count = len(result.study.overheads)
    return [*lines, f"Engine overhead: {format_seconds(overhead)} per trial (mean of {count})"]


def _next_commands(result: SearchResult) -> list[str]:
    place = argument(result.run.place)
    budget = " --fix search.max_seconds=SECONDS" if result.is_over_budget else ""
    commands: Sequence[str] = (
        *([f"taskgroup search --resume {place}{budget}"] if result.is_interrupted else []),
        *([f"taskgroup evaluate best --run {place}"] if result.study.best is not None else []),
        *([result.study.repair] if result.study.repair else []),
        f"taskgroup runs show {place}",
    )
    return ["", "Next:", *(f"  {command}" for command in commands)]
