"""Searches a space: check, run, answer."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from taskgroup.config import parse_yaml
from taskgroup.errors import ConfigError
from taskgroup.results.run_directory import DEFAULT_PARENT, RunDirectory
from taskgroup.search.grid import check_grid
from taskgroup.search.preflight import check_names, robust_objective
from taskgroup.search.progress import Progress
from taskgroup.search.recording import Train
from taskgroup.search.space import SearchSpace, load_space, read_space
from taskgroup.search.summary import StudyResult
from taskgroup.search.table import Show, shown
from taskgroup.search.tuner.connection import connected
from taskgroup.search.tuner.run import check_resources, run_study
from taskgroup.search.tuner.study import Study
from taskgroup.training.fit import fit


def search(
    space: str | Path | Mapping[str, Any] | None = None,
    *,
    fixes: Iterable[str] = (),
    run: str | Path | None = None,
    runs: str | Path = DEFAULT_PARENT,
    resume: str | Path | None = None,
    address: str | None = None,
    train: Train = fit,
    show: Show = shown,
    on_finish: Callable[[StudyResult], None] | None = None,
) -> StudyResult:
    """Run the trials of a space, or go on with those of an interrupted run.

    Args:
        space: YAML file, shipped name, or plain data; not needed to resume.
        fixes: ``key=value`` pins of the space's keys.
        run: New run directory; by default the next free name below ``runs``.
        runs: Folder of run directories.
        resume: Run directory of an interrupted search: what ended there never runs again, what was
            interrupted goes on from its last epoch.
        address: Ray cluster to search on, ``auto``, ``host:port`` or ``ray://host:port``; by
            default one is started on this machine, which no other search finds.
        train: Trains one trial.
        show: Shows the search while it runs; by default on stderr.
        on_finish: Called with the result at the end, also of an interrupted search.

    Returns:
        What was found, also after Ctrl-C.

    Raises:
        ConfigError: The space is wrong, or another search is in the run directory.
        DataError: The space, the data set or the run to resume is missing or damaged.
        ResourceError: No cluster answers at the address, a trial does not fit the machines, or the
            run directory cannot be written.
    """
    opened = _resumed(space, resume, tuple(fixes), run) if resume is not None else None
    checked = opened[0] if opened else load_space(_required(space), fixes=fixes)
    check_names(checked)
    if checked.search.sampler == "grid":
        check_grid(checked)
    with connected(address):
        check_resources(checked)
        directory = opened[1] if opened else _new_directory(checked, run, runs)
        with directory.lock():
            result = _run(checked, directory, train, show)
    if on_finish is not None:
        on_finish(result)
    return result


def _required(space: str | Path | Mapping[str, Any] | None) -> str | Path | Mapping[str, Any]:
    if space is None:
        raise ConfigError(
            "a search needs a space; give --space NAME, see 'taskgroup spaces list' "
            "(or --resume RUN)"
        )
    return space


def _resumed(
    space: object, resume: str | Path, fixes: tuple[str, ...], run: object
) -> tuple[SearchSpace, RunDirectory]:
    """The space and the directory of a run to go on with."""
    if space is not None or fixes or run is not None:
        raise ConfigError(
            "a resumed search keeps its run directory and space; give --resume alone, without "
            "--space, --fix and --run"
        )
    directory = RunDirectory.open(resume)
    text, source = directory.space_text(), str(directory.path / "space.yaml")
    return read_space(parse_yaml(text, source=source), source=source, text=text), directory


def _new_directory(space: SearchSpace, run: str | Path | None, runs: str | Path) -> RunDirectory:
    if run is not None:
        return RunDirectory.create_at(run, space.text)
    return RunDirectory.create(runs, space.name, space.text)


def _run(space: SearchSpace, directory: RunDirectory, train: Train, show: Show) -> StudyResult:
    begin = time.monotonic()
    records = directory.trials()
    study = Study(space, directory.journal_path, records)
    objectives = tuple(objective.as_study for objective in space.objectives)
    progress = Progress(
        space.name,
        total=study.total,
        epochs=space.planned_epochs,
        objectives=objectives,
        robust=robust_objective(space).metric,
        records=records,
    )
    remaining = study.total - progress.num_ended
    if remaining > 0:
        with show(progress) as listener, suppress(KeyboardInterrupt):
            run_study(space, directory, study, remaining=remaining, train=train, on_change=listener)
    return StudyResult(
        run=directory,
        objectives=objectives,
        trials=tuple(directory.trials()),
        total=study.total,
        seconds=time.monotonic() - begin,
    )
