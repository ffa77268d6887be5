"""The charts of a study; the imports are the list of what exists."""

from taskgroup.analysis.charts import (
    dimension,
    epsilon,
    learning_curves,
    pareto,
    rung_agreement,
    slices,
    task_gradients,
    task_set,
    transfer,
)

__all__ = [
    "dimension",
    "epsilon",
    "learning_curves",
    "pareto",
    "rung_agreement",
    "slices",
    "task_gradients",
    "task_set",
    "transfer",
]
