"""Which stages a search has, and what each of them runs, planned from the records.

A stage keeps no state: killed at any moment, it is planned again from the records on disk, and what
ended is not run again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from taskgroup.results.records import Stage as StageName
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.plan.confirm import plan_confirmations
from taskgroup.search.plan.proxy import ProxyTrials, plan_promotions, proxy_space
from taskgroup.search.plan.sources import PlannedTrials, StageSource, renumbered
from taskgroup.search.sampling.proposals import Proposals
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.space.study_config import ConfirmConfig, ProxyConfig


@dataclass(frozen=True)
class Stage:
    """One stage of a search, ready to run.

    Attributes:
        name: What a reader calls it; empty where the search has no other.
        space: The setting that its trials run in.
        source: Where its trials come from.
        records: Its trials so far.
    """

    name: str
    space: SearchSpace
    source: StageSource
    records: tuple[TrialResult, ...]

    @property
    def total(self) -> int:
        """Its trials when it is done."""
        return self.source.total

    @property
    def title(self) -> str:
        """The study with the stage."""
        return f"{self.space.name}, {self.name}" if self.name else self.space.name


Opener = Callable[[RunDirectory, Sequence[TrialResult]], Stage]
"""Opens a stage of a run from all its records, once the stages before it are done."""


def stages_of(space: SearchSpace) -> tuple[Opener, ...]:
    """The stages of a search in their order."""
    proxy, confirm = space.search.proxy, space.search.confirm
    searching = (
        [_searching(space)] if proxy is None else [_proxy(space, proxy), _real(space, proxy)]
    )
    return (*searching, *([] if confirm is None else [_confirming(space, confirm)]))


def _searching(space: SearchSpace) -> Opener:
    def opened(run: RunDirectory, records: Sequence[TrialResult]) -> Stage:
        own = _of(records, "search")
        study = Proposals(space, run.journal_path, own, first_number=run.next_number())
        return Stage("search" if space.search.confirm else "", space, study, own)

    return opened


def _proxy(space: SearchSpace, proxy: ProxyConfig) -> Opener:
    cheap = proxy_space(space, proxy)

    def opened(run: RunDirectory, records: Sequence[TrialResult]) -> Stage:
        own = _of(records, "proxy")
        study = Proposals(cheap, run.journal_path, own, first_number=run.next_number())
        return Stage("proxy stage", cheap, ProxyTrials(study), own)

    return opened


def _real(space: SearchSpace, proxy: ProxyConfig) -> Opener:
    def opened(run: RunDirectory, records: Sequence[TrialResult]) -> Stage:
        planned = plan_promotions(space, proxy, _of(records, "proxy"))
        return _listed("real setting", space, planned, run, records)

    return opened


def _confirming(space: SearchSpace, confirm: ConfirmConfig) -> Opener:
    def opened(run: RunDirectory, records: Sequence[TrialResult]) -> Stage:
        planned = plan_confirmations(space, confirm, _of(records, "search"))
        return _listed("confirm stage", space, planned, run, records)

    return opened


def _listed(
    name: str,
    space: SearchSpace,
    planned: Sequence[TrialResult],
    run: RunDirectory,
    records: Sequence[TrialResult],
) -> Stage:
    """A stage that runs a list to the end: nothing is proposed and nothing stopped."""
    trials = renumbered(planned, records, first_number=run.next_number())
    unhurried = space.search.model_copy(update={"scheduler": "none"})
    known = {record.number for record in records}
    return Stage(
        name,
        replace(space, search=unhurried),
        PlannedTrials(trials, space.objectives),
        tuple(trial for trial in trials if trial.number in known),
    )


def _of(records: Sequence[TrialResult], stage: StageName) -> tuple[TrialResult, ...]:
    return tuple(record for record in records if record.stage == stage)
