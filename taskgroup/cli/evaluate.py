"""``evaluate`` and ``report``: what reads a finished run."""

from typing import Annotated

import typer

from taskgroup.cli.app import app
from taskgroup.cli.options import DEFAULT_RUNS, Json, Run, Runs, open_run, print_table, progress_bar


@app.command()
def evaluate(
    target: Annotated[
        str, typer.Argument(help="best, a trial number, or the path of a checkpoint.")
    ] = "best",
    run: Run = None,
    runs: Runs = DEFAULT_RUNS,
    images: Annotated[int, typer.Option(min=1, help="Test images per condition.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of random starts and intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """Attack a trained model and the run's baselines on the test split."""
    from taskgroup.analysis.tables import evaluation_table
    from taskgroup.evaluation.run import evaluate as run_evaluate

    with progress_bar(not as_json) as progress:
        done = run_evaluate(target, run=run, runs=runs, images=images, seed=seed, progress=progress)
    print_table(evaluation_table(done.rows), as_json)
    if not as_json and done.path is not None:
        typer.echo(f"Written to {done.path}")


@app.command()
def report(run: Run = None, runs: Runs = DEFAULT_RUNS) -> None:
    """Write one HTML file with every chart of a run; it opens offline."""
    from taskgroup.analysis.report import write_report

    typer.echo(f"Report: {write_report(open_run(run, runs))}")
