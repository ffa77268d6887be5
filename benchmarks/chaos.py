"""Ends the processes of a search by SIGKILL, again and again, and looks at what is left.

A study on small scenes runs as a user would run it. At random moments the driver, a trial's actor
or a Train worker, each as often, is killed by its process id; one that is not there is waited for.
A driver that died is started again with ``--resume``. After every look at the run directory these
must hold: every record can be read, a trial that was finished stays exactly as it was, and at the
end no process of the study is alive.

    python benchmarks/chaos.py --trials 30 --seed 0 --figure chaos.html
    python benchmarks/chaos.py --trials 6 --workers 2 --every 100
    python benchmarks/chaos.py --trials 4 --workers 2 --every 60 --kinds worker

Linux only: processes are found in /proc. Exit status 1 says that something did not hold.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory

TITLES = {"trial": ("ray::ImplicitFunc", "ray::trial"), "worker": ("ray::RayTrainWorker",)}
"""How the processes of a trial call themselves."""
LOOK_SECONDS = 0.5
SPARED_SECONDS = 10
"""A process that was waited for is killed up to so long after it came, not always at its start."""
GRACE_SECONDS = 120
"""How long Ray's own agents, which look for their parent now and then, may outlive the driver."""


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one of the same id."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        found = _stat(self.pid)
        return found is not None and found[2] == self.started and found[0] != "Z"

    @property
    def title(self) -> str:
        """What it calls itself."""
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_text().replace("\0", " ").strip()
        except OSError:
            return ""


def _stat(pid: int) -> tuple[str, int, int] | None:
    """State, parent and start time of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1]), int(fields[19])


def family(root: int) -> Iterator[Process]:
    """Every living descendant of ``root``."""
    parents: dict[int, list[Process]] = {}
    for entry in Path("/proc").iterdir():
        found = _stat(int(entry.name)) if entry.name.isdigit() else None
        if found is not None:
            parents.setdefault(found[1], []).append(Process(int(entry.name), found[2]))
    waiting = [root]
    while waiting:
        children = parents.get(waiting.pop(), [])
        waiting += [child.pid for child in children]
        yield from children


@dataclass
class Observed:
    """What was seen of a study so far; ``problems`` must stay empty."""

    began: float = field(default_factory=time.monotonic)
    finished: dict[int, TrialResult] = field(default_factory=dict)
    kills: list[tuple[float, str]] = field(default_factory=list)
    curve: list[tuple[float, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seen: set[Process] = field(default_factory=set)
    drivers: int = 0

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return time.monotonic() - self.began

    def look(self, folder: Path) -> None:
        """Read every record and compare the finished trials with what they were."""
        if not (folder / "space.yaml").exists():
            return
        records = {record.number: record for record in RunDirectory.open(folder).trials()}
        for number, before in self.finished.items():
            after = records.get(number)
            if after is None:
                self.problems.append(f"trial {number} was {before.status} and is lost")
            elif asdict(after) != asdict(before):
                self.problems.append(
                    f"trial {number} was {before.status} and ran or was told twice"
                )
        done = {n: record for n, record in records.items() if record.status != "interrupted"}
        if len(done) > len(self.finished):
            self.curve.append((self.seconds, len(done)))
        self.finished = done


def command(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """The search, or its continuation once its run directory exists."""
    search = [sys.executable, "-m", "taskgroup", "search"]
    if (folder / "space.yaml").exists():
        return [*search, "--resume", str(folder)]
    fixes = [
        f"search.trials={arguments.trials}",
        f"resources.workers={arguments.workers}",
        "training.epochs=3",
        *arguments.fix,
    ]
    options = [part for fix in fixes for part in ("--fix", fix)]
    return [*search, "--space", arguments.space, *options, "--run", str(folder)]


def victims(driver: int, observed: Observed) -> dict[str, list[int]]:
    """Ids of processes that may be killed, by kind."""
    found = {"driver": [driver]}
    for process in family(driver):
        observed.seen.add(process)
        for kind, titles in TITLES.items():
            if process.title.startswith(titles):
                found.setdefault(kind, []).append(process.pid)
    return found


def delay(arguments: argparse.Namespace) -> float:
    """Seconds until the next kill."""
    seconds: float = arguments.random.expovariate(1 / arguments.every)
    return seconds


def run_driver(arguments: argparse.Namespace, observed: Observed, folder: Path, log: Path) -> int:
    """One life of the driver: kill at random moments until it ends; its exit status."""
    choose = arguments.random
    cores = set(list(os.sched_getaffinity(0))[: arguments.cores])
    with log.open("ab") as output:
        driver = subprocess.Popen(
            command(arguments, folder),
            stdout=output,
            stderr=output,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    observed.drivers += 1
    next_kill, kind = observed.seconds + 5 + delay(arguments), choose.choice(arguments.kinds)
    is_awaited = False
    while driver.poll() is None:
        time.sleep(LOOK_SECONDS)
        observed.look(folder)
        found = victims(driver.pid, observed)
        is_over = len(observed.finished) >= arguments.trials
        if is_over or observed.seconds < next_kill:
            continue
        if kind not in found:
            is_awaited = True
        elif is_awaited:
            is_awaited, next_kill = False, observed.seconds + choose.uniform(0, SPARED_SECONDS)
        else:
            with suppress(ProcessLookupError):
                os.kill(choose.choice(found[kind]), signal.SIGKILL)
                observed.kills.append((observed.seconds, kind))
            next_kill, kind = observed.seconds + delay(arguments), choose.choice(arguments.kinds)
    return driver.wait()


def wait_for_the_end(observed: Observed) -> list[Process]:
    """Processes that are still alive when Ray had time to end them."""
    until = time.monotonic() + GRACE_SECONDS
    left = [process for process in observed.seen if process.alive]
    while left and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        left = [process for process in left if process.alive]
    return left


def run(arguments: argparse.Namespace, folder: Path, log: Path) -> Observed:
    """Drivers, one after the other, until the study is complete or a check fails."""
    observed = Observed()
    status = -signal.SIGKILL
    while status == -signal.SIGKILL and observed.drivers < arguments.lives:
        status = run_driver(arguments, observed, folder, log)
        observed.look(folder)
        if observed.problems:
            return observed
    if status != 0:
        observed.problems.append(f"the driver ended with {status}; its output is in {log}")
    if len(observed.finished) != arguments.trials:
        observed.problems.append(f"{len(observed.finished)} of {arguments.trials} trials finished")
    orphans = wait_for_the_end(observed)
    observed.problems += [f"{one.pid} is left: {one.title[:80]}" for one in orphans]
    return observed


def report(observed: Observed) -> dict[str, object]:
    """The numbers of a run."""
    trials = observed.finished.values()
    return {
        "seconds": round(observed.seconds),
        "drivers": observed.drivers,
        "kills": dict(Counter(kind for _, kind in observed.kills)),
        "finished": dict(Counter(trial.status for trial in trials)),
        "begun": sum(trial.attempts for trial in trials),
        "problems": observed.problems,
    }


def draw(observed: Observed, path: Path) -> None:
    """Finished trials over time, with a line for every kill."""
    import plotly.graph_objects as go

    times, counts = zip(*[(0.0, 0), *observed.curve], strict=True)
    figure = go.Figure(go.Scatter(x=times, y=counts, line_shape="hv", name="finished trials"))
    colours = {"driver": "#c0392b", "trial": "#e67e22", "worker": "#8e44ad"}
    for kind, colour in colours.items():
        moments = [moment for moment, killed in observed.kills if killed == kind]
        if moments:
            heights = [
                max(n for t, n in zip(times, counts, strict=True) if t <= m) for m in moments
            ]
            marker = {"color": colour, "symbol": "x", "size": 10}
            figure.add_scatter(x=moments, y=heights, mode="markers", marker=marker, name=kind)
    figure.update_layout(
        title=f"{max(counts)} trials finish while {len(observed.kills)} processes are killed",
        xaxis_title="seconds",
        yaxis_title="finished trials",
        template="plotly_white",
    )
    figure.write_html(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="smoke")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--every", type=float, default=20, help="mean seconds between kills")
    kinds = ["driver", *TITLES]
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds, help="what is killed")
    parser.add_argument("--lives", type=int, default=40, help="most drivers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fix", action="append", default=[])
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    arguments.random = random.Random(arguments.seed)
    if arguments.workers == 1:
        arguments.kinds = [kind for kind in arguments.kinds if kind != "worker"]
        if not arguments.kinds:
            parser.error("--kinds worker needs --workers 2: one trains in the trial's own process")
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "output.txt"
        observed = run(arguments, Path(scratch) / "run", log)
        if observed.problems:
            print(log.read_text(errors="replace")[-4000:], file=sys.stderr)
    print(json.dumps(report(observed), indent=2))
    if arguments.figure is not None:
        draw(observed, arguments.figure)
    sys.exit(bool(observed.problems))


if __name__ == "__main__":
    main()
