"""Trains one trial of a space in this process, without Ray."""

from collections.abc import Callable, Iterable
from pathlib import Path

from taskgroup.errors import TaskgroupError
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import DEFAULT_PARENT, RunDirectory
from taskgroup.results.storage.places import Place
from taskgroup.search.engine.recording import Train, WorkerClock, record_trial
from taskgroup.search.plan.baselines import middle_trial
from taskgroup.search.plan.planning import plan_trial
from taskgroup.search.plan.preflight import check_names
from taskgroup.search.space.search_space import load_space
from taskgroup.training.fit import fit
from taskgroup.wording import format_score, format_seconds


def train_one(
    space: str | Path,
    *,
    fixes: Iterable[str] = (),
    run: str | Path | None = None,
    runs: str | Path = DEFAULT_PARENT,
    echo: Callable[[str], None] = print,
    train: Train = fit,
) -> Place:
    """Train the middle of a space, all candidates included, but for what ``fixes`` pin.

    Args:
        space: YAML file or shipped name.
        fixes: ``key=value`` pins of the space's keys.
        run: New run directory; by default the next free name below ``runs``.
        runs: Folder of run directories.
        echo: Hears a line per epoch.
        train: Trains one trial.

    Returns:
        The checkpoint.

    Raises:
        ConfigError: The space is wrong.
        DataError: The space or the data set is missing.
        ResourceError: The run directory cannot be written.
        TaskgroupError: The training failed; its record says why.
    """
    checked = load_space(space, fixes=fixes)
    check_names(checked)
    planned = plan_trial(0, middle_trial(checked))
    if run is not None:
        directory = RunDirectory.create_at(run, checked.text)
    else:
        directory = RunDirectory.create(runs, checked.name, checked.text)
    with directory.lock():
        record = record_trial(
            train,
            directory,
            planned,
            clock=WorkerClock(),
            emit=lambda record: echo(_epoch_line(record)),
        )
    if record.status != "complete":
        what = "failed" if record.status == "failed" else "was interrupted"
        raise TaskgroupError(f"the training must end with a network, but {what}: {record.reason}")
    return directory.checkpoint_path(record.number)


def _epoch_line(record: TrialResult) -> str:
    if not record.epochs:
        return f"{record.label}: {record.status}"
    row = record.epochs[-1]
    scores = ", ".join(f"{name} {format_score(name, value)}" for name, value in row.metrics.items())
    return f"epoch {row.epoch}/{record.planned_epochs} ({format_seconds(row.seconds)}): {scores}"
