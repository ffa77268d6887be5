"""``dimension``: gradient norms and robust scores against the number of attacked outputs."""

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from taskgroup.cli.app import app
from taskgroup.cli.options import DEFAULT_RUNS, Json, Run, Runs, print_table

if TYPE_CHECKING:
    from taskgroup.evaluation.dimension.run import DimensionFound


class GridName(StrEnum):
    """Names of ``--grid``."""

    doubling = "doubling"
    short = "short"
    seed = "seed"


class PartName(StrEnum):
    """Names of ``--part``."""

    gradient = "gradient"
    attack = "attack"
    tasks = "tasks"
    task_attack = "task_attack"


@app.command()
def dimension(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Run directories, best, trial numbers or checkpoints; overlaid in one chart."
        ),
    ] = None,
    part: Annotated[
        list[PartName] | None,
        typer.Option(help="Measure only this part (repeatable); default: all that fit the task."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Task whose outputs are counted; default: the main task.")
    ] = None,
    grid: Annotated[
        GridName,
        typer.Option(help="Numbers of outputs: doubling (1, 2, 4, ...), or the published lists."),
    ] = GridName.doubling,
    outputs: Annotated[
        list[int] | None,
        typer.Option(help="A number of outputs, instead of a grid (repeatable)."),
    ] = None,
    attack: Annotated[str, typer.Option(help="Name of the attack.")] = "pgd",
    steps: Annotated[int, typer.Option(min=1, help="Attack steps.")] = 20,
    restarts: Annotated[int, typer.Option(min=1, help="Attack restarts.")] = 1,
    epsilon: Annotated[
        str | None,
        typer.Option(help="Attack radius, e.g. 8/255; default: the run's validation.epsilon."),
    ] = None,
    norm: Annotated[
        str | None, typer.Option(help="linf, l2 or l1; default: the run's validation.norm.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Number of test images.")] = 64,
    repeats: Annotated[
        int, typer.Option(min=1, help="Random draws of outputs per image, and of task sets.")
    ] = 4,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of draws, attacks and intervals.")
    ] = 0,
    seed_compatible: Annotated[
        bool,
        typer.Option(
            "--seed-compatible",
            help="Measure as the published script does: pairs of images as one vector.",
        ),
    ] = False,
    run: Run = None,
    runs: Runs = DEFAULT_RUNS,
    output: Annotated[
        str | None, typer.Option(help="Folder to write to; default: the run directory.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how gradients and attacks weaken as more outputs or tasks are attacked at once."""
    from taskgroup.evaluation.dimension.options import DimensionOptions
    from taskgroup.evaluation.dimension.run import analyse_dimension
    from taskgroup.evaluation.progress_bar import progress_bar

    options = DimensionOptions(
        parts=tuple(one.value for one in part or ()),
        task=task,
        grid=grid.value,
        outputs=tuple(outputs or ()),
        images=images,
        repeats=repeats,
        attack=attack,
        steps=steps,
        restarts=restarts,
        epsilon=epsilon,
        norm=norm,
        seed=seed,
        seed_compatible=seed_compatible,
    )
    with progress_bar() as progress:
        found = analyse_dimension(
            targets or (), run=run, runs=runs, output=output, options=options, progress=progress
        )
    _print_dimension(found, as_json)


def _print_dimension(found: "DimensionFound", as_json: bool) -> None:
    """Print tables by number of outputs and of tasks, then the angles between task gradients."""
    from taskgroup.analysis.tables.dimension import (
        collect_curves,
        dimension_table,
        task_gradient_table,
    )
    from taskgroup.wording import argument

    main_task = found.rows[-1].task if found.rows else ""
    curves = collect_curves(found.rows, (), main_task=main_task)
    tables = {
        "gradient": dimension_table(curves, "outputs", "gradient_norm"),
        "attack": dimension_table(curves, "outputs", "robust_score"),
        "tasks": dimension_table(curves, "tasks", "gradient_norm"),
        "task_attack": dimension_table(curves, "tasks", "robust_score"),
        "task_gradients": task_gradient_table(found.task_gradients),
    }
    if as_json:
        typer.echo(json.dumps({name: table.to_json() for name, table in tables.items()}))
        return
    for table in tables.values():
        if table.rows:
            print_table(table, as_json)
    if found.is_run:
        typer.echo(
            f"Written to {found.place}; draw it with: "
            f"taskgroup report --run {argument(found.place)}"
        )
        return
    from taskgroup.analysis.report.dimension_page import write_dimension_page

    typer.echo(f"Written to {found.place}; charts: {write_dimension_page(found.place)}")
