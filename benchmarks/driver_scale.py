"""What a trial costs the driver when there are many: 64 nodes, 1 000 trials that do nothing.

Everything that the driver does is the real thing: Tune's controller, our searcher, Optuna's study
and journal, the scheduler, the records, the progress. Only the actors are simulated: 64 of them
answer at once from a queue, because 64 nodes do not fit this machine. What a real worker would do
elsewhere (its own record of every epoch) is done here too, but not counted.

    OMP_NUM_THREADS=1 python benchmarks/driver_scale.py --trials 100 300 1000
"""

import argparse
import io
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import ray
from ray.air.execution._internal.tracked_actor import TrackedActor
from rich.console import Console

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.answer.live_table import study_table
from taskgroup.search.answer.progress import Progress
from taskgroup.search.answer.result import SearchResult
from taskgroup.search.engine.searcher import RECORD
from taskgroup.search.plan.planning import from_text, last_epoch, to_text
from taskgroup.search.run import search

NODES, EPOCHS = 64, 6
HEADER = "| sampler | scheduler | trials | ms a trial | s in total | memory, MB | drawing, ms |"
SPACE: dict[str, Any] = {
    "name": "scale",
    "dataset": {"name": "scenes", "image_size": 32, "train": 64, "validation": 16, "test": 16},
    "model": {"backbone": "resnet_small", "width": 8},
    "main_task": "segmentation",
    "auxiliary_tasks": {"subset": ["depth", "normals", "edges", "autoencoding"], "max_size": 3},
    "loss_weights": {"loguniform": [0.01, 1.0]},
    "adversary": {"attack": "pgd", "epsilon": {"choice": ["2/255", "4/255"]}},
    "training": {"epochs": EPOCHS, "learning_rate": {"loguniform": [1e-3, 1e-2]}},
    "objectives": [
        {"maximize": "segmentation/robust/miou"},
        {"maximize": "segmentation/clean/miou"},
    ],
}


@dataclass
class Elsewhere:
    """What is not the driver's: the run directory as workers see it, and their processor time."""

    run: Path | None = None
    seconds: float = 0.0

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the processor time of a block as a worker's."""
        begin = time.process_time()
        yield
        self.seconds += time.process_time() - begin


ELSEWHERE = Elsewhere()


@dataclass
class SimulatedTrial:
    """A trial in a worker that does nothing: a score per epoch, and a record of it."""

    record: TrialResult
    draw: np.random.Generator = field(default_factory=np.random.default_rng)

    def train(self) -> dict[str, Any]:
        """The next report, as a function trainable sends it."""
        with ELSEWHERE.working():
            if self.record.status == "complete":
                return {"done": True, "__duplicate__": True, **self._report()}
            self._epoch()
            return {"done": False, **self._report()}

    def _epoch(self) -> None:
        epoch = last_epoch(self.record) + 1
        score = 0.1 * np.log1p(epoch) + 0.1 * self.draw.random()
        metrics = {"segmentation/robust/miou": score, "segmentation/clean/miou": 2 * score}
        row = EpochRow(epoch, metrics, 1.0, 1000)
        status = "complete" if epoch == self.record.planned_epochs else "interrupted"
        self.record = replace(
            self.record,
            epochs=(*self.record.epochs, row),
            status=status,
            reason=None if status == "complete" else self.record.reason,
            attempts=1,
        )
        assert ELSEWHERE.run is not None
        RunDirectory.open(ELSEWHERE.run).write_trial(self.record)

    def _report(self) -> dict[str, Any]:
        epoch = last_epoch(self.record)
        text = to_text(self.record)
        metrics = dict(self.record.epochs[-1].metrics)
        own = {**metrics, "epoch": epoch, RECORD: text}
        tunes = {"training_iteration": epoch, "time_total_s": 1.0 * epoch, "pid": 1, "node_ip": ""}
        return {**own, **tunes, "config": {RECORD: text}}


class SimulatedActors:
    """Ray's actor manager for the controller, with actors that live in this process."""

    def __init__(self, resource_manager: Any) -> None:
        self._trials: dict[TrackedActor, SimulatedTrial | None] = {}
        self._live_actors_to_ray_actors_resources: dict[TrackedActor, tuple[Any, Any]] = {}
        self._events: deque[Callable[[], None]] = deque()
        self._names = iter(range(10**9))

    def add_actor(self, *, kwargs: Any, on_start: Any, **others: Any) -> TrackedActor:
        actor = TrackedActor(next(self._names), on_start=on_start)
        self._trials[actor] = SimulatedTrial(from_text(kwargs["config"][RECORD]))
        self._live_actors_to_ray_actors_resources[actor] = (None, None)
        self._events.append(lambda: on_start(actor))
        return actor

    def schedule_actor_task(
        self, tracked_actor: TrackedActor, method_name: str, args: Any = (), on_result: Any = None,
        **others: Any,
    ) -> None:  # fmt: skip
        def happen() -> None:
            if tracked_actor in self._trials and on_result is not None:
                on_result(tracked_actor, self._call(tracked_actor, method_name, args))

        self._events.append(happen)

    def _call(self, actor: TrackedActor, method_name: str, args: Any) -> Any:
        if method_name == "reset":
            self._trials[actor] = SimulatedTrial(from_text(args[0][RECORD]))
            return True
        trial = self._trials[actor]
        return trial.train() if trial is not None and method_name == "train" else None

    def next(self, timeout: float | None = None) -> bool:
        if not self._events:
            return False
        self._events.popleft()()
        return True

    def remove_actor(self, tracked_actor: TrackedActor, **others: Any) -> bool:
        self._trials.pop(tracked_actor, None)
        return True

    def is_actor_started(self, tracked_actor: TrackedActor) -> bool:
        return tracked_actor in self._trials

    def is_actor_failed(self, tracked_actor: TrackedActor) -> bool:
        return False

    def get_live_actors_resources(self) -> dict[str, float]:
        return {}

    def clear_actor_task_futures(self, tracked_actor: TrackedActor) -> None:
        """Nothing is under way: a task is done when it is asked for."""

    def cleanup(self) -> None:
        self._trials.clear()

    num_pending_actors = 0
    num_actor_tasks = 0

    @property
    def num_live_actors(self) -> int:
        return len(self._trials)

    @property
    def num_total_actors(self) -> int:
        return len(self._trials)


@dataclass(frozen=True)
class Point:
    """The driver when some trials have ended.

    Attributes:
        ended: Trials.
        seconds: Its processor time so far.
        memory: Its resident memory, bytes.
        drawing: Seconds to draw the live table once.
    """

    ended: int
    seconds: float
    memory: int
    drawing: float


class Meter:
    """Listens as the live table does, and measures at some numbers of ended trials."""

    def __init__(self, progress: Progress, marks: set[int]) -> None:
        self._progress, self._marks = progress, marks
        self._begin = time.process_time() - ELSEWHERE.seconds
        self.points = [Point(0, 0.0, resident(), 0.0)]

    def __call__(self, record: TrialResult) -> None:
        self._progress.update(record)
        ended = self._progress.num_ended
        if ended in self._marks and record.status != "interrupted":
            self._marks.discard(ended)
            seconds = time.process_time() - ELSEWHERE.seconds - self._begin
            with ELSEWHERE.working():
                drawing = self._draw()
            self.points.append(Point(ended, seconds, resident(), drawing))

    def _draw(self) -> float:
        console = Console(file=io.StringIO(), force_terminal=True, width=140, height=50)
        begin = time.process_time()
        console.print(study_table(self._progress, max_rows=20))
        return time.process_time() - begin


def resident() -> int:
    """Resident memory of this process, bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def measure(trials: int, sampler: str, scheduler: str, marks: set[int]) -> list[Point]:
    """One simulated search."""
    meters: list[Meter] = []

    @contextmanager
    def show(progress: Progress) -> Iterator[Meter]:
        meters.append(Meter(progress, marks))
        yield meters[-1]

    section = {"trials": trials, "sampler": sampler, "scheduler": scheduler}
    with tempfile.TemporaryDirectory() as folder, simulated():
        ELSEWHERE.run = Path(folder) / "run"
        result: SearchResult = search({**SPACE, "search": section}, run=ELSEWHERE.run, show=show)
    assert len(result.study.trials) == trials
    return meters[0].points


@contextmanager
def simulated() -> Iterator[None]:
    """Tune with simulated actors on a pretended cluster."""
    ray.init(
        address="local",
        num_cpus=NODES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=100 * 2**20,
        _system_config={"enable_worker_prestart": False},
    )
    with patch("ray.tune.execution.tune_controller.RayActorManager", SimulatedActors):
        try:
            yield
        finally:
            ray.shutdown()


def rows(points: list[Point], sampler: str, scheduler: str) -> Iterator[str]:
    """Lines of the table; the cost is that of the trials since the line before."""
    for before, point in pairwise(points):
        cost = (point.seconds - before.seconds) / (point.ended - before.ended)
        yield (
            f"| {sampler} | {scheduler} | {point.ended} | {1000 * cost:.0f} "
            f"| {point.seconds:.1f} | {point.memory / 2**20:.0f} | {1000 * point.drawing:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--samplers", nargs="+", default=["tpe", "random"])
    parser.add_argument("--scheduler", default="asha")
    arguments = parser.parse_args()
    print(HEADER)
    print("|---|---|---|---|---|---|---|")
    for sampler in arguments.samplers:
        points = measure(max(arguments.trials), sampler, arguments.scheduler, set(arguments.trials))
        for row in rows(points, sampler, arguments.scheduler):
            print(row, flush=True)


if __name__ == "__main__":
    main()
