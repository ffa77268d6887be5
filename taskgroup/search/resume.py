"""Whether a search begins a run or resumes one, whose space it must share."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from taskgroup.config import parse, parse_number, parse_yaml
from taskgroup.errors import ConfigError, DataError
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import SPACE_FILE, RunDirectory, trial_file
from taskgroup.search.space.distributions import DISTRIBUTIONS
from taskgroup.search.space.search_space import SearchSpace, load_space, read_space
from taskgroup.search.space.study_config import StudyConfig
from taskgroup.training.config import TrialConfig
from taskgroup.wording import counted

CHANGEABLE = (
    "description",
    "resources",
    "search.trials",
    "search.max_seconds",
    "search.loggers",
    "search.max_retries",
    "search.epoch_timeout",
    "search.proxy.top",
    "search.confirm",
)
"""Keys that may differ in a resumed run: they change how long or where, not what is compared.

Any other may as long as no epoch of any trial was measured, since then there is nothing to compare:
a run that a wrong value made can be repaired.
"""
NOTE = "# changed "
"""Begins the comment lines of ``space.yaml`` that tell what was changed and when."""
_UNSET = "not set"
LATE_RUNGS = 3
"""Version of the records from which on the first rung comes late where the space does not say."""
Space = str | Path | Mapping[str, Any]


@dataclass(frozen=True)
class SearchTarget:
    """What is searched and where.

    Attributes:
        space: The space, as it holds from now on.
        directory: The run directory to resume; None asks for a new one.
        changes: What differs from the space in it, by key, old and new value; all allowed.
        dropped: Trials that ended no epoch of the space before, which run anew.
    """

    space: SearchSpace
    directory: RunDirectory | None = None
    changes: Mapping[str, tuple[object, object]] = field(default_factory=dict)
    dropped: tuple[TrialResult, ...] = ()

    def lines(self) -> list[str]:
        """What a reader may not expect of the change, one line each."""
        if self.directory is None or not self.changes:
            return []
        trials, stage = self.space.search.trials, self.space.first_stage
        records = [] if self.dropped else self.directory.trials()
        ended = sum((r.stage, r.status != "interrupted") == (stage, True) for r in records)
        if trials is not None and trials < ended:
            return [
                f"search.trials is {trials} now, but {ended} trials have ended; they stay in the "
                "run, and no other one begins"
            ]
        return [self._dropped_line()] if self.dropped else []

    def _dropped_line(self) -> str:
        reasons = [record.reason for record in self.dropped if record.status == "failed"]
        why = f" (the first: {reasons[0]})" if reasons else ""
        return (
            f"nothing was measured before the change, so {counted(len(self.dropped), 'trial')} "
            f"without an epoch will run anew{why}"
        )

    def write_changes(self) -> None:
        """Note what changed in the run's ``space.yaml``, which holds the new space from then on.

        Records of trials that are dropped are removed first.

        Raises:
            ResourceError: The disk is full or not writable.
        """
        if self.directory is None or not self.changes:
            return
        for record in self.dropped:
            self.directory.drop_trial(record.number)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        old = self.directory.space_text().splitlines()
        notes = [line for line in old if line.startswith(NOTE)]
        notes += [
            f"{NOTE}{now}: {key} from {_shown(before)} to {_shown(after)}"
            for key, (before, after) in self.changes.items()
        ]
        notes += [f"{NOTE}{now}: {self._dropped_line()}"] if self.dropped else []
        text = [line for line in self.space.text.splitlines() if not line.startswith(NOTE)]
        lines = "\n".join([*text, *notes]) + "\n"
        self.directory.storage.write(SPACE_FILE, lines.encode("utf-8"))


def find_target(
    space: Space | None,
    *,
    fixes: Iterable[str] = (),
    run: str | Path | None = None,
    resume: str | Path | None = None,
) -> SearchTarget:
    """Read the space of a search, and find the run that it resumes, if any.

    ``run`` names a run directory to create or resume, so that a command that is given again
    resumes; ``resume`` names one that must exist.

    Args:
        space: YAML file, shipped name, or plain data; by default that of the run to resume.
        fixes: ``key=value`` pins of the space's keys.
        run: A run directory, whether it exists or not.
        resume: An existing run directory.

    Raises:
        ConfigError: The space is wrong, or is not that of the run.
        DataError: The space or the run does not exist, or a record of the run is damaged or holds
            a configuration that this version does not know.
    """
    if run is not None and resume is not None:
        raise ConfigError("--resume names the run directory to resume; give --resume without --run")
    directory = RunDirectory.open(resume) if resume is not None else _existing(run)
    if directory is not None:
        return _resumed(directory, space, tuple(fixes))
    if space is None:
        raise ConfigError(
            "a search needs a space; give --space NAME, see 'taskgroup spaces list' "
            "(or --resume RUN)"
        )
    return SearchTarget(load_space(space, fixes=fixes))


def _existing(run: str | Path | None) -> RunDirectory | None:
    if run is not None:
        with suppress(DataError):
            return RunDirectory.open(run)
    return None


def _resumed(directory: RunDirectory, space: Space | None, fixes: tuple[str, ...]) -> SearchTarget:
    text, source = directory.space_text(), directory.place_of(SPACE_FILE)
    values, kept = parse_yaml(text, source=source), _kept_defaults(directory)
    records = directory.trials()
    is_measured = any(record.epochs for record in records)
    asked = (*(fix for fix in kept if not _names_key(fixes, fix)), *fixes)
    try:
        own = read_space(values, fixes=kept, source=source, text=text)
    except ConfigError:
        if is_measured or (space is None and not fixes):
            raise
        own = None
    if space is not None:
        wanted = load_space(space, fixes=asked)
    else:
        wanted = read_space(values, fixes=asked, source=source, text=text)
    if own is None:
        changes = _differences(dict(_leaves(values, "")), _given(wanted))
    else:
        changes = space_changes(own, wanted)
    if not is_measured and any(not _is_changeable(key) for key in changes):
        return SearchTarget(wanted, directory, changes, dropped=tuple(records))
    _check_changes(directory, changes)
    _check_configurations(directory, records)
    return SearchTarget(wanted if changes else own or wanted, directory, changes)


def _given(space: SearchSpace) -> dict[str, object]:
    """The keys of a space as they were written."""
    return dict(_leaves(parse_yaml(space.text, source="the space"), ""))


def _kept_defaults(directory: RunDirectory) -> tuple[str, ...]:
    """Pins of keys that the run's space does not name, whose defaults were others when it began."""
    text, source = directory.space_text(), directory.place_of(SPACE_FILE)
    search = parse_yaml(text, source=source).get("search")
    if not isinstance(search, Mapping) or "grace_epochs" in search:
        return ()
    return ("search.grace_epochs=1",) if directory.oldest_version() < LATE_RUNGS else ()


def _names_key(fixes: Iterable[str], fix: str) -> bool:
    key = fix.partition("=")[0]
    return any(one.partition("=")[0].strip() == key for one in fixes)


def space_changes(before: SearchSpace, after: SearchSpace) -> dict[str, tuple[object, object]]:
    """Keys whose values differ between two spaces, with both values.

    Example:
        >>> space = {"name": "a", "dataset": {"name": "scenes"}, "main_task": "segmentation",
        ...          "objectives": [{"maximize": "segmentation/robust/miou"}]}
        >>> one, two = ({**space, "search": {"trials": n}} for n in (4, 8))
        >>> space_changes(read_space(one, source=""), read_space(two, source=""))
        {'search.trials': (4, 8)}
    """
    return _differences(_settings(before), _settings(after))


def _differences(
    old: Mapping[str, object], new: Mapping[str, object]
) -> dict[str, tuple[object, object]]:
    """Keys with other values, with both."""
    return {
        key: (old.get(key, _UNSET), new.get(key, _UNSET))
        for key in (*old, *(key for key in new if key not in old))
        if old.get(key, _UNSET) != new.get(key, _UNSET)
    }


def _is_changeable(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in CHANGEABLE)


def _check_changes(directory: RunDirectory, changes: Mapping[str, tuple[object, object]]) -> None:
    refused = {key: values for key, values in changes.items() if not _is_changeable(key)}
    if refused:
        listed = "; ".join(
            f"{key} was {_shown(old)} and is now {_shown(new)}"
            for key, (old, new) in refused.items()
        )
        raise ConfigError(
            f"run {directory.place} must be resumed with the space it was started with, but "
            f"{listed}; use --resume alone, or search into a new run "
            f"(only {', '.join(CHANGEABLE)} may change)"
        )


def _check_configurations(directory: RunDirectory, records: Sequence[TrialResult]) -> None:
    """Refuse records that a study cannot learn from, before anything is started for it."""
    for record in records:
        try:
            parse(TrialConfig, record.config)
        except ConfigError as error:
            raise DataError(
                f"{directory.place_of(trial_file(record.number))}: the configuration of trial "
                f"{record.number} must be one that this release knows: {error}; resume with the "
                "release that wrote it, or move the file away"
            ) from None


def _settings(space: SearchSpace) -> dict[str, object]:
    """Every key of a space that is set, with plain values; the study's defaults filled in."""
    values = parse_yaml(space.text, source="the space")
    own = {key: value for key, value in values.items() if key in StudyConfig.model_fields}
    study = parse(StudyConfig, own).model_dump(mode="json")
    return {
        key: value for key, value in _leaves({**values, **study}, "") if value not in (None, {})
    }


def _leaves(node: object, path: str) -> Iterable[tuple[str, object]]:
    """Values by dotted key; a distribution is one value, ``4/255`` a number."""
    if isinstance(node, Mapping) and node and not any(key in DISTRIBUTIONS for key in node):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, _plain(node)


def _plain(node: object) -> object:
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain(value) for value in node]
    return parse_number(node)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else " ".join(str(value).split())
