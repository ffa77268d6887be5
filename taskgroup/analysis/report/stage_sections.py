"""What the proxy and confirm stages found, as tables and sentences of the report."""

from typing import Any

from taskgroup.analysis.tables.base import Row, Table
from taskgroup.study.agreement import agreement_text, proxy_pairs
from taskgroup.study.confirmation import (
    Confirmed,
    attack_words,
    best_alone,
    correction_text,
    verdict_text,
)
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.seed_means import MeanInterval
from taskgroup.study.study import Study
from taskgroup.wording import (
    MISSING,
    counted,
    format_score,
    gain_interval,
    score_interval,
)

CONFIRM_CAPTION = (
    "Trained again with seeds that the search never used and scored once, after the last epoch, on "
    "the confirm split, which the search never saw. A task set is compared, seed by seed, with the "
    "main task alone under the same recipe: only tasks and loss weights differ. Intervals cover "
    "other seeds and other images, 95 % each; taken one by one, about one in twenty misses the "
    "true value."
)
PROXY_CAPTION = (
    "Trials were searched on a cheap stand-in; the best of them and every baseline were trained "
    "again in the real setting, from which alone the winner comes. The correlation speaks only of "
    "those that were trained in both."
)


def confirm_table(study: Study) -> Table:
    """Each confirmed configuration: mean and interval, paired difference, what that says."""
    found = study.confirmed
    heads = [objective.title for objective in study.objectives]
    columns = ("trained on", "seeds", *heads, f"{heads[0]} against one task alone", "verdict")
    rows = tuple(_confirmed_row(study, group) for group in found)
    notes = (*_attack_notes(study), *_alone_note(study, found), *_correction_note(found))
    return Table(columns, frozenset(range(1, 3 + len(heads))), rows, notes)


def _attack_notes(study: Study) -> tuple[str, ...]:
    """What each column was measured under."""
    words = [
        f"{objective.title}: {attack_words(objective.metric, study.suite)}"
        for objective in study.objectives
    ]
    text = "; ".join(words)
    waiting = len(study.suite.missing)
    left_out = f"Left out, not scored by the suite yet: {counted(waiting, 'confirmation')}."
    return (f"{text[:1].upper()}{text[1:]}.", *([left_out] if waiting else []))


def _confirmed_row(study: Study, group: Confirmed) -> Row:
    difference = group.differences[0] if group.differences else None
    scores = [
        _interval(objective, score)
        for objective, score in zip(study.objectives, group.scores, strict=True)
    ]
    cells = (
        group.name,
        str(group.scores[0].seeds),
        *scores,
        _difference(study.objectives[0], difference),
        "; ".join(filter(None, (verdict_text(group), *group.suspicions))) or MISSING,
    )
    data: dict[str, Any] = {
        "trial": group.first.parent,
        "label": group.first.label,
        "scores": [score._asdict() for score in group.scores],
        "against": None if group.partner is None else group.partner.label,
        "difference": None if difference is None else difference._asdict(),
        "verdict": group.verdict,
        "suspicions": list(group.suspicions),
    }
    alarms = frozenset({len(cells) - 1}) if group.suspicions else frozenset[int]()
    return Row(cells, data, None, alarms)


def _alone_note(study: Study, found: tuple[Confirmed, ...]) -> tuple[str, ...]:
    best = best_alone(found, study.objectives[0])
    if best is None:
        return ()
    mean = format_score(study.objectives[0].metric, best.scores[0].mean)
    return (f"Best recipe without auxiliary tasks: {best.first.label}, {mean}.",)


def _correction_note(found: tuple[Confirmed, ...]) -> tuple[str, ...]:
    text = correction_text(found)
    return (f"{text[:1].upper()}{text[1:]}.",) if text else ()


def _interval(objective: StudyObjective, found: MeanInterval) -> str:
    return score_interval(objective.metric, *found[:3])


def _difference(objective: StudyObjective, found: MeanInterval | None) -> str:
    return MISSING if found is None else gain_interval(objective.metric, *found[:3])


def confirmation_sentence(study: Study) -> str | None:
    """What the stage says about the winner; None where it measured nothing."""
    found = study.confirmed
    if not any(group.scores[0].seeds for group in found):
        return None
    best = study.best
    own = [group for group in found if best is not None and group.first.parent == best.number]
    own = [group for group in own if group.first.auxiliary_tasks]
    if not own or own[0].partner is None:
        return "Confirmed below with several seeds on images that the search never saw."
    group = own[0]
    difference = _difference(study.objectives[0], group.differences[0])
    name = study.objectives[0].title
    return (
        f"Confirm stage, {counted(group.differences[0].seeds, 'seed')} on images that the search "
        "never saw: "
        f"{verdict_text(group)}. {name[:1].upper()}{name[1:]} {difference} against "
        f"{group.first.main_task} alone under the same recipe."
    )


def proxy_table(study: Study) -> Table:
    """Each promoted trial: its score on the stand-in and in the real setting."""
    objective = study.objectives[0]
    pairs = proxy_pairs(study.trials)
    rows = []
    for proxy, real in sorted(pairs, key=lambda pair: -objective.gain(pair[0])):
        scores = [
            format_score(objective.metric, trial.score(objective.metric)) for trial in (proxy, real)
        ]
        data = {"proxy": proxy.number, "real": real.number, "label": real.label}
        rows.append(
            Row((real.label, str(proxy.number), scores[0], str(real.number), scores[1]), data)
        )
    name = objective.title
    columns = ("trained on", "stand-in", f"{name}, stand-in", "real trial", f"{name}, real")
    return Table(columns, frozenset({1, 2, 3, 4}), tuple(rows), (proxy_sentence(study),))


def proxy_sentence(study: Study) -> str:
    """The rank correlation between stand-in and real setting, in words."""
    found = study.proxy_agreement
    return f"Rank correlation of stand-in and real setting: {agreement_text(found)}."
