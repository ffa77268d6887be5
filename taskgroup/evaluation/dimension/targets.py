"""Which networks to lay over each other, and where what is found is written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from taskgroup.errors import ConfigError, DataError
from taskgroup.evaluation.subjects import Subject, resolve, winner_and_baselines
from taskgroup.results.run_directory import SPACE_FILE, RunDirectory
from taskgroup.results.storage.places import Place, is_address, within
from taskgroup.results.storage.single_files import exists

NEXT = "see what exists with: taskgroup runs list"


@dataclass(frozen=True)
class Networks:
    """What the targets of a command name.

    Attributes:
        subjects: The networks, each once.
        place: Folder to write to.
        is_run: Whether that is a run directory.
    """

    subjects: tuple[Subject, ...]
    place: str
    is_run: bool


def named_networks(
    targets: Sequence[str], *, run: Place | None, runs: Place, output: Place | None
) -> Networks:
    """Resolve run directories, ``best``, numbers of trials and checkpoints.

    Raises:
        DataError: A target that is neither a run directory nor a checkpoint, or a run with nothing
            to measure.
        ConfigError: An unknown trial, or targets of several places and no ``output``.
    """
    found = [_resolve(target, run, runs) for target in targets or ("best",)]
    places = dict.fromkeys(place for _, place, _ in found)
    subjects: dict[str, Subject] = {}
    for own, place, _ in found:
        name = place.rstrip("/").rpartition("/")[2]
        for subject in own:
            label = subject.label if len(places) == 1 else f"{name}: {subject.label}"
            subjects.setdefault(str(subject.checkpoint), replace(subject, label=label))
    if output is not None:
        return Networks(tuple(subjects.values()), str(output), is_run=_is_run(output))
    if len(places) > 1:
        raise ConfigError(
            f"networks of several places need one place to write to, got {', '.join(places)}; "
            "name it with --output"
        )
    return Networks(tuple(subjects.values()), next(iter(places)), is_run=found[0][2])


def _resolve(target: str, run: Place | None, runs: Place) -> tuple[list[Subject], str, bool]:
    """Networks of one target, the folder that they belong to, and whether it is a run."""
    if _is_run(target):
        directory = RunDirectory.open(target)
        return winner_and_baselines(directory), directory.place, True
    if target != "best" and not target.isdecimal() and not exists(target):
        raise DataError(
            f"{target} must be best, a trial's number, a run directory or a checkpoint, found no "
            f"such thing; {NEXT}"
        )
    subjects, home = resolve(target, None if run is None else str(run), runs)
    if home is not None:
        return subjects, home.place, True
    folder = target.rpartition("/")[0] if is_address(target) else str(Path(target).parent)
    return subjects, folder, False


def _is_run(place: Place) -> bool:
    return exists(within(place, SPACE_FILE))
