"""``evaluate`` and ``report``: the commands that read a finished run."""

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from taskgroup.cli.app import app
from taskgroup.cli.options import DEFAULT_RUNS, Json, Run, Runs, open_run, print_table
from taskgroup.cli.published import Dataset, Model, TaskOptions, Tasks, published_target

if TYPE_CHECKING:
    from taskgroup.evaluation.options import EvaluationOptions
    from taskgroup.evaluation.run import Evaluated


TITLES = {
    "robustness": "Clean beside robust",
    "attacks": "Attack by attack",
    "transfer": "Transfer between networks, no measure of robustness",
}


class SuiteName(StrEnum):
    """Names of ``--suite``."""

    quick = "quick"
    standard = "standard"
    full = "full"
    mtrobust = "mtrobust"
    mtrobust_seed = "mtrobust_seed"


@app.command()
def evaluate(
    target: Annotated[
        str, typer.Argument(help="best, all, a trial number, or the path to a checkpoint.")
    ] = "best",
    suite: Annotated[
        SuiteName | None,
        typer.Option(help="How hard to attack; default: quick on a CPU, standard on a GPU."),
    ] = None,
    epsilon: Annotated[
        str | None,
        typer.Option(help="Attack radius, e.g. 8/255; default: the run's validation.epsilon."),
    ] = None,
    norm: Annotated[
        str | None, typer.Option(help="linf, l2 or l1; default: the run's validation.norm.")
    ] = None,
    attacked_task: Annotated[
        list[str] | None,
        typer.Option(help="Task to attack jointly with others (repeatable); default: all."),
    ] = None,
    model: Model = None,
    dataset: Dataset = None,
    task: Tasks = None,
    task_options: TaskOptions = None,
    run: Run = None,
    runs: Runs = DEFAULT_RUNS,
    images: Annotated[int, typer.Option(min=1, help="Number of test images per condition.")] = 256,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of random starts and intervals.")
    ] = 0,
    workers: Annotated[
        int, typer.Option(min=1, help="Worker processes; 1 runs in this process, without Ray.")
    ] = 1,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to run on: auto, HOST:PORT or ray://HOST:PORT.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Attack a trained model and the run's baselines on the test split."""
    from taskgroup.evaluation.options import EvaluationOptions
    from taskgroup.evaluation.progress_bar import progress_bar
    from taskgroup.evaluation.run import evaluate as run_evaluate

    options = EvaluationOptions(
        suite=None if suite is None else suite.value,
        images=images,
        seed=seed,
        epsilon=epsilon,
        norm=norm,
        attacked_tasks=tuple(attacked_task or ()),
        workers=workers,
        address=_checked(address),
    )
    target = published_target(
        target,
        model=model,
        dataset=dataset,
        tasks=task,
        task_options=task_options,
        run=run,
        runs=runs,
    )
    if target == "all":
        _evaluate_all(run, runs, options, as_json)
        return
    with progress_bar() as progress:
        done = run_evaluate(target, run=run, runs=runs, options=options, progress=progress)
    _print_evaluation(done, as_json)


def _evaluate_all(run: str | None, runs: str, options: "EvaluationOptions", as_json: bool) -> None:
    """Attack each finished trial of a run in turn, and print clean and robust scores."""
    from taskgroup.analysis.tables.evaluations import robustness_table
    from taskgroup.evaluation.progress_bar import progress_bar
    from taskgroup.evaluation.trials import evaluate_all

    directory = open_run(run, runs)
    with progress_bar() as progress:
        found = evaluate_all(directory, options=options, progress=progress)
    rows = [row for row in directory.evaluations() if row.split == options.split]
    print_table(robustness_table(rows), as_json)
    for number, problem in found.problems.items():
        typer.echo(f"trial {number} was left out: {problem}", err=True)
    typer.echo(f"Written to {directory.place}", err=as_json)


def _checked(address: str | None) -> str | None:
    """The address of a cluster, after checking that it answers."""
    if address is None:
        return None
    from taskgroup.cluster.address import find_cluster

    return str(find_cluster(address))


def _print_evaluation(done: "Evaluated", as_json: bool) -> None:
    """Print clean beside robust scores, then attack by attack, then the transfer matrix."""
    from taskgroup.analysis.tables.evaluations import (
        evaluation_table,
        robustness_table,
        transfer_table,
    )
    from taskgroup.wording import argument

    tables = {
        "robustness": robustness_table(done.rows),
        "attacks": evaluation_table(done.rows),
        "transfer": transfer_table(done.transfers),
    }
    if as_json:
        typer.echo(json.dumps({name: table.to_json() for name, table in tables.items()}))
        return
    for name in tables if done.transfers else ("robustness", "attacks"):
        typer.echo(f"\n{TITLES[name]}")
        print_table(tables[name], as_json)
    if done.path is not None:
        typer.echo(
            f"\nWritten to {done.path}; see it all with: "
            f"taskgroup report --run {argument(done.path)}"
        )


@app.command()
def report(run: Run = None, runs: Runs = DEFAULT_RUNS) -> None:
    """Write one HTML file with every chart of a run; opens offline."""
    from taskgroup.analysis.report.build import write_report
    from taskgroup.search.loading import read_study

    directory = open_run(run, runs)
    typer.echo(f"Report: {write_report(directory, read_study(directory))}")
