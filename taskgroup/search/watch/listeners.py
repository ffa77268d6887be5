"""Who hears of every trial in the driver besides the reader's own table."""

from collections.abc import Callable, Sequence

from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.plan.preflight import robust_objective
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.watch.event_files import EventFiles
from taskgroup.search.watch.gauges import StudyGauges

Heard = Callable[[TrialResult], None]
"""Hears of a trial that is planned, measured or ended."""


def watched(
    space: SearchSpace, run: RunDirectory, records: Sequence[TrialResult], on_change: Heard
) -> Heard:
    """One listener for all: the caller's own, the gauges, and event files unless turned off.

    Args:
        space: What is searched.
        run: The run directory.
        records: Trials of the stage in earlier sessions.
        on_change: The caller's listener, which hears first.
    """
    gauges = StudyGauges(run.name, robust_objective(space), records)
    files = EventFiles(run, records) if "tensorboard" in space.search.loggers else None

    def heard(record: TrialResult) -> None:
        on_change(record)
        gauges(record)
        if files is not None:
            files(record)

    return heard
