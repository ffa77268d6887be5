"""``search``, ``confirm`` and ``train``: the commands that train."""

import json
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from taskgroup.cli.app import app
from taskgroup.cli.options import DEFAULT_RUNS, Fix, Json, Runs, open_run
from taskgroup.termination import exit_status

if TYPE_CHECKING:
    from taskgroup.search.answer.result import SearchResult

Address = Annotated[
    str | None, typer.Option(help="Ray cluster to train on: auto, HOST:PORT or ray://HOST:PORT.")
]


class ConfirmSuiteName(StrEnum):
    """Names of ``confirm --suite``."""

    quick = "quick"
    standard = "standard"
    none = "none"


@app.command()
def search(
    space: Annotated[
        str | None,
        typer.Option(help="Search space: a YAML file, or a name from `taskgroup spaces list`."),
    ] = None,
    fix: Fix = None,
    run: Annotated[
        str | None,
        typer.Option(help="Run directory to create or resume; default: the next free <space>-N."),
    ] = None,
    runs: Runs = DEFAULT_RUNS,
    resume: Annotated[
        str | None, typer.Option(help="Resume this run directory where it stopped.")
    ] = None,
    address: Address = None,
    dashboard: Annotated[
        bool,
        typer.Option("--dashboard", help="Start Ray's dashboard on localhost; prints the URL."),
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
        tell=partial(typer.echo, err=True),
    )
    _print_result(result, as_json)


@app.command()
def confirm(
    run: Annotated[
        str | None, typer.Argument(help="Run directory of a search; default: the newest.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="How many of the best searched trials; default: 2.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="Seeds per trial; default: 3.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Training epochs; default: each trial's own.")
    ] = None,
    suite: Annotated[
        ConfirmSuiteName | None,
        typer.Option(help="Attacks to score with: quick, standard or none; default: standard."),
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="How many images to attack; default: 128.")
    ] = None,
    runs: Runs = DEFAULT_RUNS,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Retrain the best trials and the baselines with several seeds; score them on unseen images.

    The scores are taken on the confirm split, which the search never sees, and compared seed by
    seed with those of the main task alone under the same recipe. What has been confirmed before is
    not trained again.
    """
    from taskgroup.search.run import confirm as run_confirm

    directory = open_run(run, runs)
    result = run_confirm(
        directory.place,
        top=top,
        seeds=seeds,
        epochs=epochs,
        suite=None if suite is None else suite.value,
        images=images,
        address=address,
    )
    _print_result(result, as_json)


def _print_result(result: "SearchResult", as_json: bool) -> None:
    """Write the report and print the answer.

    Exit with 1 if every trial failed, with 130 or 143 if the search was interrupted.
    """
    from taskgroup.analysis.report.build import write_report
    from taskgroup.search.answer.json_answer import answer_json
    from taskgroup.search.answer.summary import summary

    report = write_report(result.run, result.study)
    if as_json:
        typer.echo(json.dumps(answer_json(result) | {"report": report}))
    else:
        typer.echo(summary(result, report))
    if result.is_interrupted and not result.is_over_budget:
        raise typer.Exit(exit_status())
    if result.has_only_failures:
        raise typer.Exit(1)


@app.command()
def train(
    space: Annotated[str, typer.Option(help="Search space: a YAML file, or a shipped one's name.")],
    fix: Fix = None,
    run: Annotated[
        str | None,
        typer.Option(help="Run directory to create; default: the next free <space>-N."),
    ] = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Train one trial of a space in this process, without Ray.

    Keys that the space searches take the middle of their range, as in a baseline, unless --fix
    pins them.
    """
    from taskgroup.search.single import train_one

    finished = train_one(space, fixes=fix or (), run=run, runs=runs, echo=typer.echo)
    typer.echo(f"Checkpoint: {finished}")
