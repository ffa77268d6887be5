"""The charts of a study; the imports are the list of what exists."""

from taskgroup.analysis.charts import (
    epsilon,
    learning_curves,
    pareto,
    rung_agreement,
    slices,
    task_set,
    transfer,
)

__all__ = [
    "epsilon",
    "learning_curves",
    "pareto",
    "rung_agreement",
    "slices",
    "task_set",
    "transfer",
]
