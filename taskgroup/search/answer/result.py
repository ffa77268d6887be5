"""What a search found, as data; text and JSON are made from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from taskgroup.results.run_directory import RunDirectory
from taskgroup.study.agreement import RungAgreement
from taskgroup.study.study import Study


@dataclass(frozen=True)
class SearchResult:
    """A study and what its last session knows beyond the records.

    Attributes:
        run: The run directory.
        study: What lies in it at the end of the session.
        total: Trials that the study was to have.
        seconds: Wall time of this session.
        rungs: Epochs after which trials were compared; empty where none was stopped.
        is_over_budget: Whether ``search.max_seconds`` ended it.
        unscored: Why confirmations could not be scored by their suite, by number.
        left_out: Trials of ``search.trials`` beyond the configurations that the space has.
    """

    run: RunDirectory
    study: Study
    total: int
    seconds: float
    rungs: tuple[int, ...] = ()
    is_over_budget: bool = False
    unscored: Mapping[int, str] = field(default_factory=dict)
    left_out: int = 0

    @property
    def is_interrupted(self) -> bool:
        """Whether the study has trials left to run."""
        return sum(trial.status != "interrupted" for trial in self.study.trials) < self.total

    @property
    def has_only_failures(self) -> bool:
        """Whether trials ran and every one of them failed."""
        return self.study.has_only_failures

    @property
    def agreements(self) -> tuple[RungAgreement, ...]:
        """How well the order at each rung predicts the final one."""
        return self.study.rung_agreements(self.rungs)
