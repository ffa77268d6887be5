"""Studies as a reader of today wants them: configurations that older versions wrote completed."""

from collections.abc import Mapping, Sequence
from typing import Any

from taskgroup.errors import ConfigError
from taskgroup.results.run_directory import RunDirectory
from taskgroup.results.runs import newest
from taskgroup.results.storage.places import Place
from taskgroup.study.study import Study, comparable


def load_run(path: Place | None = None) -> Study:
    """Read a run for a notebook.

    Args:
        path: The run directory; by default the newest below ``runs``.

    Raises:
        DataError: There is none, or one of its files is torn or foreign.
        ConfigError: Its space names no main task or no objectives.
    """
    return read_study(RunDirectory.open(path) if path is not None else newest())


def read_study(run: RunDirectory) -> Study:
    """Read a study.

    Raises:
        DataError, ConfigError: As ``Study.read``.
    """
    return Study.read(run, _completed)


def read_studies(runs: Sequence[RunDirectory]) -> tuple[Study, ...]:
    """Read studies whose configurations are compared with each other.

    Raises:
        DataError, ConfigError: As ``Study.read``.
    """
    return comparable([Study.read(run) for run in runs], _completed)


def _completed(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration with today's defaults; one that this version does not know as it is."""
    from taskgroup.training.config import completed  # torch comes with it, and few runs need it

    try:
        return completed(config)
    except ConfigError:
        return config
