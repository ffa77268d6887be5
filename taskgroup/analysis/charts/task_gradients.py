"""How far the gradients of a network's tasks point the same way: cosines and norms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from taskgroup.analysis.base import CHARTS, Chart
from taskgroup.analysis.charts.style import literal, new_figure
from taskgroup.analysis.groups import model_styles
from taskgroup.results.records import TaskGradientRow
from taskgroup.study.study import Study
from taskgroup.wording import counted, format_decimals, format_number

TITLE = "Gradients of tasks"
JOINT, BALANCED = "all, summed", "all, balanced"
COLORS = "RdBu"
CELL = 46


@dataclass(frozen=True)
class TaskMatrix:
    """One network.

    Attributes:
        name: What a reader calls it.
        tasks: Its tasks, from top to bottom.
        columns: The same, then the two joint gradients.
        values: Mean cosines over images, ``values[task][column]``; None where undefined.
        norms: Mean length of each task's gradient.
        balanced_norm: Mean length of the mean of the unit gradients.
        images: Images behind it.
    """

    name: str
    tasks: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    norms: tuple[float, ...]
    balanced_norm: float
    images: int


def collect_task_gradients(study: Study) -> tuple[TaskMatrix, ...]:
    """The matrices of the networks that have several tasks."""
    return task_matrices(study.task_gradients, study)


def task_matrices(rows: Sequence[TaskGradientRow], study: Study) -> tuple[TaskMatrix, ...]:
    """One matrix per network with several tasks, in the order of every chart."""
    styles = model_styles([(row, row.label) for row in rows], study.searched)
    found = []
    for (trial, label), style in styles.items():
        own = [row for row in rows if (row.trial, row.label) == (trial, label)]
        tasks = tuple(row.task for row in own if row.quantity == "norm")
        if len(tasks) > 1:
            found.append(_matrix(style.name, tasks, own))
    return tuple(found)


def _matrix(name: str, tasks: tuple[str, ...], rows: Sequence[TaskGradientRow]) -> TaskMatrix:
    known: Mapping[tuple[str, str, str], float] = {
        (row.quantity, row.task, row.other): row.value for row in rows if row.value == row.value
    }
    return TaskMatrix(
        name=name,
        tasks=tasks,
        columns=(*tasks, JOINT, BALANCED),
        values=tuple(
            (
                *(known.get(("cosine", task, other)) for other in tasks),
                known.get(("joint_cosine", task, "")),
                known.get(("balanced_cosine", task, "")),
            )
            for task in tasks
        ),
        norms=tuple(known.get(("norm", task, ""), float("nan")) for task in tasks),
        balanced_norm=known.get(("balanced_norm", "", ""), float("nan")),
        images=max(row.images for row in rows),
    )


def draw_task_gradients(matrices: Sequence[TaskMatrix]) -> go.Figure:
    """A heat map per network with a number in every cell and the norms beside the names."""
    rows = max(len(matrices), 1)
    sizes = [len(matrix.tasks) for matrix in matrices] or [1]
    figure = make_subplots(
        rows=rows,
        cols=1,
        row_heights=[size + 1 for size in sizes],
        subplot_titles=[literal(matrix.name) for matrix in matrices] or None,
        vertical_spacing=0.36 / rows if rows > 1 else 0,
    )
    new_figure(figure, height=90 + sum(CELL * size + 130 for size in sizes))
    for row, matrix in enumerate(matrices, 1):
        _add_matrix(figure, matrix, row)
    figure.update_xaxes(showgrid=False, tickangle=0)
    figure.update_yaxes(showgrid=False, autorange="reversed")
    figure.update_layout(
        coloraxis={
            "colorscale": COLORS,
            "cmin": -1,
            "cmax": 1,
            "colorbar": {"title": {"text": "cosine"}, "len": min(1.0, 300 / figure.layout.height)},
        },
        margin={"t": 40},
    )
    figure.update_annotations(font_size=14)
    return figure


def _add_matrix(figure: go.Figure, matrix: TaskMatrix, row: int) -> None:
    pairs = zip(matrix.tasks, matrix.norms, strict=True)
    figure.add_heatmap(
        z=matrix.values,
        x=[literal(name) for name in matrix.columns],
        y=[f"{literal(task)}, norm {format_number(norm)}" for task, norm in pairs],
        text=[["" if v is None else format_decimals(v) for v in line] for line in matrix.values],
        texttemplate="%{text}",
        hovertemplate="%{y}<br>with %{x}: %{text}<extra></extra>",
        coloraxis="coloraxis",
        xgap=2,
        ygap=2,
        row=row,
        col=1,
    )


@CHARTS.register("task_gradients")
def task_gradients_chart(study: Study) -> Chart:
    """Cosines between the gradients of the tasks of each network."""
    matrices = collect_task_gradients(study)
    if not matrices:
        return Chart(
            TITLE, "Run taskgroup dimension on a network of several tasks to see how their "
            "gradients agree.", None,
        )  # fmt: skip
    caption = (
        "Cosines between the tasks' gradients by the image, per image and then averaged over "
        f"{counted(matrices[0].images, 'image')}; norms are those of each task's mean loss. The "
        "last columns compare each task with the gradient of all: summed, where the largest one "
        "rules, and balanced, where each has unit length. One perturbation hurts all tasks that "
        "agree; tasks that do not must share it."
    )
    return Chart(TITLE, caption, draw_task_gradients(matrices))
