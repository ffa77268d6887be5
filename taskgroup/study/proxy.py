"""Whether a proxy stage ranked trials as the real setting does."""

from collections.abc import Iterable

from taskgroup.results.records import TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.rank_correlation import RankCorrelation, spearman


def proxy_pairs(trials: Iterable[TrialResult]) -> list[tuple[TrialResult, TrialResult]]:
    """Each complete trial of the real setting behind the complete stand-in that it repeats."""
    complete = [trial for trial in trials if trial.status == "complete"]
    proxies = {trial.number: trial for trial in complete if trial.stage == "proxy"}
    return [
        (proxies[trial.parent], trial)
        for trial in complete
        if trial.stage == "search" and trial.parent in proxies
    ]


def proxy_agreement(trials: Iterable[TrialResult], objective: StudyObjective) -> RankCorrelation:
    """Rank correlation of an objective between stand-ins and the same trials at full cost.

    Only the best stand-ins and the baselines are promoted, so it speaks of these alone.

    Args:
        trials: All trials of a run.
        objective: What is compared.
    """
    pairs = proxy_pairs(trials)
    first = [objective.gain(proxy) for proxy, _ in pairs]
    return spearman(first, [objective.gain(real) for _, real in pairs])


def agreement_text(found: RankCorrelation) -> str:
    """The rank correlation in words, with an honest word where there are too few pairs.

    Example:
        >>> agreement_text(RankCorrelation(0.9, 0.31, 0.99, 6))
        'Spearman 0.90 (95 % interval 0.31\N{EN DASH}0.99) over 6 trials'
        >>> agreement_text(RankCorrelation(0.5, float("nan"), float("nan"), 3))
        'Spearman 0.50 over 3 trials, too few for an interval'
    """
    if found.value != found.value:
        return f"not known: {found.pairs} trials were measured in both, too few or all equal"
    if found.low != found.low:
        return f"{found.text} over {found.pairs} trials, too few for an interval"
    return f"{found.text} over {found.pairs} trials"
