"""Records as flat tables, for notebooks and programs."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from taskgroup.errors import ConfigError
from taskgroup.results.records import EvaluationRow, TrialResult
from taskgroup.results.records.codec import to_table

if TYPE_CHECKING:
    import pandas as pd

FlatTable: TypeAlias = pa.Table
DataFrame: TypeAlias = "pd.DataFrame"

_PLAIN = (
    "number",
    "label",
    "role",
    "status",
    "reason",
    "main_task",
    "auxiliary_tasks",
    "output_dimension",
    "planned_epochs",
    "seed",
    "started",
    "seconds",
    "overhead_seconds",
    "peak_memory",
    "checkpoint",
)


def trials_table(trials: Iterable[TrialResult]) -> FlatTable:
    """One row per trial: plain columns, drawn values by dotted key, last metrics by name."""
    return _columns([_flat_trial(trial) for trial in trials], _PLAIN)


def epochs_table(trials: Iterable[TrialResult]) -> FlatTable:
    """One row per trial and epoch: metrics by name, seconds, peak memory in bytes."""
    rows = [
        {
            "number": trial.number,
            "epoch": row.epoch,
            "seconds": row.seconds,
            "peak_memory": row.peak_memory,
            **row.metrics,
        }
        for trial in trials
        for row in trial.epochs
    ]
    return _columns(rows, ("number", "epoch", "seconds", "peak_memory"))


def scores_table(evaluations: Iterable[EvaluationRow]) -> FlatTable:
    """One row per score, as in the files of ``evaluations/``."""
    return to_table(EvaluationRow, tuple(evaluations))


def to_pandas(table: FlatTable) -> DataFrame:
    """A table as a pandas data frame.

    Raises:
        ConfigError: pandas is not installed.
    """
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise ConfigError(
            "to_pandas needs pandas, which is not installed; pip install pandas, or use .table"
        ) from None
    frame: DataFrame = table.to_pandas()
    return frame


def _flat_trial(trial: TrialResult) -> dict[str, Any]:
    names = dict.fromkeys(name for row in trial.epochs for name in row.metrics)
    return {
        **{name: getattr(trial, name) for name in _PLAIN},
        **trial.parameters,
        **{name: trial.score(name) for name in names},
    }


def _columns(rows: list[dict[str, Any]], first: Iterable[str]) -> pa.Table:
    """Rows with any keys as one table; a key that a row lacks is null there."""
    names = list(dict.fromkeys([*first, *(name for row in rows for name in row)]))
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    """One column; values that share no arrow type become JSON text."""
    try:
        return pa.array([list(v) if isinstance(v, tuple) else v for v in values])
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([_text(value) for value in values])


def _text(value: Any) -> str | None:
    plain = dict(value) if isinstance(value, Mapping) else value
    return None if value is None else json.dumps(plain)
