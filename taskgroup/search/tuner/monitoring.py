"""Numbers of a running search for whoever watches: gauges on Ray's metrics pages.

Every node has such a page, in Prometheus' format, and Ray puts ``ray_`` before each name. The
driver says how the study goes, each trial's process how its trial goes. A worker is named by its
process id and not by its trial: a study of ten thousand trials has as many series as one of ten.
"""

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache

from ray.util.metrics import Gauge

from taskgroup.results.records import TrialResult
from taskgroup.search.planning import last_epoch
from taskgroup.study.objectives import StudyObjective

FINISHED = "taskgroup_trials_finished"
BEST = "taskgroup_best_robust_score"
TRIAL = "taskgroup_trial"
EPOCH = "taskgroup_epoch"
SPEED = "taskgroup_images_per_second"

GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    FINISHED: ("Trials that ended, by how they ended.", ("run", "stage", "status")),
    BEST: ("Best robust validation score of a complete trial.", ("run", "stage", "metric")),
    TRIAL: ("Number of the trial that a worker trains.", ("run", "worker")),
    EPOCH: ("Epochs that a worker's trial has behind it.", ("run", "worker")),
    SPEED: ("Training images a second in a worker's last epoch.", ("run", "worker")),
}
"""Description and tags of every gauge, by its name before Ray's prefix."""


class StudyGauges:
    """Publishes how a stage of a study goes; hears of every trial in the driver."""

    def __init__(
        self, run: str, robust: StudyObjective, records: Iterable[TrialResult] = ()
    ) -> None:
        """Begin with what earlier sessions left.

        Args:
            run: Name of the run.
            robust: The robust score and its direction.
            records: Trials of the same stage so far.
        """
        self._run = run
        self._robust = robust
        self._ended: dict[int, str] = {}
        self._counts: Counter[str] = Counter()
        self._best: float | None = None
        self._earlier = list(records)
        self._gauges: dict[str, Gauge] = {}

    def __call__(self, record: TrialResult) -> None:
        """Take in a newer version of a record, in the same time however many trials there are."""
        if not self._gauges:  # not before Ray runs: what is set earlier is lost
            self._gauges = {name: _new_gauge(name) for name in (FINISHED, BEST)}
            for earlier in self._earlier:
                self._take(earlier)
        self._take(record)

    def _take(self, record: TrialResult) -> None:
        before = self._ended.get(record.number)
        if record.status in ("interrupted", before):
            return
        self._ended[record.number] = record.status
        if before is not None:
            self._count(record.stage, before, -1)
        self._count(record.stage, record.status, 1)
        if record.status == "complete":
            self._compare(record)

    def _count(self, stage: str, status: str, change: int) -> None:
        self._counts[status] += change
        tags = {"run": self._run, "stage": stage, "status": status}
        self._gauges[FINISHED].set(self._counts[status], tags=tags)

    def _compare(self, record: TrialResult) -> None:
        score, sign = self._robust.value(record), self._robust.sign
        if math.isfinite(score) and (self._best is None or sign * score > sign * self._best):
            self._best = score
            tags = {"run": self._run, "stage": record.stage, "metric": self._robust.metric}
            self._gauges[BEST].set(score, tags=tags)


def publish_trial(run: str, record: TrialResult) -> None:
    """Publish how the trial of this process goes.

    Args:
        run: Name of the run.
        record: What is known of the trial so far.
    """
    tags = {"run": run, "worker": str(os.getpid())}
    speed = record.score("images_per_second")
    _gauge(TRIAL).set(record.number, tags=tags)
    _gauge(EPOCH).set(last_epoch(record), tags=tags)
    if speed is not None:
        _gauge(SPEED).set(speed, tags=tags)


@cache
def _gauge(name: str) -> Gauge:
    """The gauge of that name in a trial's process, which lives in one cluster only."""
    return _new_gauge(name)


def _new_gauge(name: str) -> Gauge:
    description, tags = GAUGES[name]
    return Gauge(name, description=description, tag_keys=tags)
