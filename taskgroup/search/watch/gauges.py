"""Numbers of a running search for whoever watches: gauges on Ray's metrics pages.

Every node has such a page, in Prometheus' format, and Ray puts ``ray_`` before each name. The
driver says how the study goes, each trial's process how its trial goes. A worker is named by its
process id and not by its trial: a study of ten thousand trials has as many series as one of ten.

Ray 2.60 writes a value into one edition of the page and forgets it, so each is told again and
again.
"""

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from string import printable
from threading import Event, Thread
from urllib.parse import quote

import ray
from ray.util.metrics import Gauge

from taskgroup.results.records import TrialResult
from taskgroup.search.plan.planning import last_epoch
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


REPORT_MILLISECONDS = "RAY_metrics_report_interval_ms"
"""Ray's own setting: how often it renews the pages, every ten seconds unless it is set."""


class KeptGauges:
    """Gauges of this process whose last values stay on the page until Ray ends."""

    def __init__(self) -> None:
        """Publish nothing yet."""
        self._gauges: dict[str, Gauge] = {}
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._pause = int(os.environ.get(REPORT_MILLISECONDS, "10000")) / 2000

    def set(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        """Publish a value now and until another one takes its place; Ray must run.

        Args:
            name: One of ``GAUGES``.
            value: Its value.
            tags: Every tag of the gauge, in any letters.
        """
        tags = {tag: in_ascii(text) for tag, text in tags.items()}
        if not self._gauges:
            Thread(target=self._repeat, args=(_cluster(),), daemon=True).start()
        if name not in self._gauges:
            description, tag_keys = GAUGES[name]
            self._gauges[name] = Gauge(name, description=description, tag_keys=tag_keys)
        self._values[name, tuple(tags.items())] = value
        self._gauges[name].set(value, tags=tags)

    def _repeat(self, cluster: str | None) -> None:
        pause = Event()
        while not pause.wait(self._pause) and _cluster() == cluster:
            for (name, tags), value in tuple(self._values.items()):
                self._gauges[name].set(value, tags=dict(tags))


def in_ascii(text: str) -> str:
    """A tag as Ray takes it: what is not ASCII as in a URL, so that two names stay two.

    Example:
        >>> in_ascii("caf\N{LATIN SMALL LETTER E WITH ACUTE} 1")
        'caf%C3%A9 1'
    """
    return quote(text, safe=printable, errors="backslashreplace")


def _cluster() -> str | None:
    """The cluster that this process is in, as long as it is."""
    if not ray.is_initialized():
        return None
    return str(ray.get_runtime_context().get_job_id())


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
        self._gauges: KeptGauges | None = None

    def __call__(self, record: TrialResult) -> None:
        """Take in a newer version of a record, in the same time however many trials there are."""
        if self._gauges is None:  # not before Ray runs: what is set earlier is lost
            self._gauges = KeptGauges()
            for earlier in self._earlier:
                self._take(earlier, self._gauges)
        self._take(record, self._gauges)

    def _take(self, record: TrialResult, gauges: KeptGauges) -> None:
        before = self._ended.get(record.number)
        if record.status in ("interrupted", before):
            return
        self._ended[record.number] = record.status
        if before is not None:
            self._count(record.stage, before, -1, gauges)
        self._count(record.stage, record.status, 1, gauges)
        if record.status == "complete":
            self._compare(record, gauges)

    def _count(self, stage: str, status: str, change: int, gauges: KeptGauges) -> None:
        self._counts[status] += change
        tags = {"run": self._run, "stage": stage, "status": status}
        gauges.set(FINISHED, self._counts[status], tags)

    def _compare(self, record: TrialResult, gauges: KeptGauges) -> None:
        score, sign = self._robust.value(record), self._robust.sign
        if math.isfinite(score) and (self._best is None or sign * score > sign * self._best):
            self._best = score
            tags = {"run": self._run, "stage": record.stage, "metric": self._robust.metric}
            gauges.set(BEST, score, tags)


def publish_trial(run: str, record: TrialResult) -> None:
    """Publish how the trial of this process goes.

    Args:
        run: Name of the run.
        record: What is known of the trial so far.
    """
    tags = {"run": run, "worker": str(os.getpid())}
    gauges, speed = _gauges_of_trials(), record.score("images_per_second")
    gauges.set(TRIAL, record.number, tags)
    gauges.set(EPOCH, last_epoch(record), tags)
    if speed is not None:
        gauges.set(SPEED, speed, tags)


@cache
def _gauges_of_trials() -> KeptGauges:
    """The gauges of a trial's process, which lives in one cluster only."""
    return KeptGauges()
