"""``search``, ``confirm`` and ``train``: what updates weights."""

import json
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from taskgroup.cli.app import app
from taskgroup.cli.options import DEFAULT_RUNS, Fix, Json, Runs, open_run

if TYPE_CHECKING:
    from taskgroup.search.answer.summary import StudyResult

Address = Annotated[
    str | None, typer.Option(help="Ray cluster to search on: auto, HOST:PORT or ray://HOST:PORT.")
]


@app.command()
def search(
    space: Annotated[
        str | None,
        typer.Option(help="Search space: a YAML file, or a name that `spaces list` shows."),
    ] = None,
    fix: Fix = None,
    run: Annotated[
        str | None,
        typer.Option(help="Run directory, new or to go on with; default: the next free <space>-N."),
    ] = None,
    runs: Runs = DEFAULT_RUNS,
    resume: Annotated[
        str | None, typer.Option(help="Go on with this run directory where it stopped.")
    ] = None,
    address: Address = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Run Ray's dashboard, on loopback; prints where.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Search a space and write the answer, the checkpoints and a report into a run directory."""
    from taskgroup.search.run import search as run_search

    result = run_search(
        space,
        fixes=fix or (),
        run=run,
        runs=runs,
        resume=resume,
        address=address,
        dashboard=partial(typer.echo, err=True) if dashboard else None,
    )
    _print_result(result, as_json)


@app.command()
def confirm(
    run: Annotated[
        str | None, typer.Argument(help="Run directory of a search; default: newest.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="Searched trials to confirm, best first; default 2.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds of each; default 3.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of each; default: each trial's own.")
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(help="Attacks to score each with: quick, standard or none; default standard."),
    ] = None,
    images: Annotated[int | None, typer.Option(help="Images to attack; default 128.")] = None,
    runs: Runs = DEFAULT_RUNS,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Train the best trials and the baselines again with several seeds, on unseen images.

    Each is scored on the confirm split, which no search sees, and compared with the main task alone
    under the same recipe, seed by seed. What was confirmed before is not trained again.
    """
    from taskgroup.search.run import confirm as run_confirm

    directory = open_run(run, runs)
    result = run_confirm(
        directory.place,
        top=top,
        seeds=seeds,
        epochs=epochs,
        suite=suite,
        images=images,
        address=address,
    )
    _print_result(result, as_json)


def _print_result(result: "StudyResult", as_json: bool) -> None:
    """Write the report and print the answer; exits 1 when every trial failed."""
    from taskgroup.analysis.report.build import write_report

    report = write_report(result.run)
    if as_json:
        typer.echo(json.dumps(result.to_json() | {"report": str(report)}))
    else:
        typer.echo(result.summary(report))
    if result.has_only_failures:
        raise typer.Exit(1)


@app.command()
def train(
    space: Annotated[str, typer.Option(help="Search space: a YAML file or a shipped name.")],
    fix: Fix = None,
    run: Annotated[
        str | None,
        typer.Option(help="New run directory; by default the next free <space>-N."),
    ] = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Train one trial of a space in this process, without Ray.

    Keys that the space leaves open take the middle of their range, as in a baseline, unless
    --fix pins them.
    """
    from taskgroup.search.single import train_one

    finished = train_one(space, fixes=fix or (), run=run, runs=runs, echo=typer.echo)
    typer.echo(f"Checkpoint: {finished}")
