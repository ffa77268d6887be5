"""The command line: options, one call, text to stdout, problems to stderr.

No logic lives here, and heavy imports stand inside the commands, so that help answers at once.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from taskgroup import __version__
from taskgroup.errors import TaskgroupError

if TYPE_CHECKING:
    from taskgroup.results.run_directory import RunDirectory

DEFAULT_RUNS = Path("runs")


class OneLineErrors(TyperGroup):
    """Prints the user's mistakes as one line and exits 2; anything else keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:  # typer carries its own click and exports no context type
        """Run the command under the rule of the class."""
        try:
            return super().invoke(ctx)
        except TaskgroupError as error:
            typer.echo(f"taskgroup: {error}", err=True)
            raise typer.Exit(2) from None


def _group(text: str) -> typer.Typer:
    """A group of commands that shows its help when called bare."""
    return typer.Typer(cls=OneLineErrors, no_args_is_help=True, help=text, add_completion=False)


app = _group(
    "Search auxiliary tasks, loss weights and attack budgets that make a main task robust."
)
data_app = _group("Look at data sets.")
spaces_app = _group("List, print and check search spaces.")
runs_app = _group("List and inspect run directories.")
app.add_typer(data_app, name="data")
app.add_typer(spaces_app, name="spaces")
app.add_typer(runs_app, name="runs")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of a table.")]
Runs = Annotated[Path, typer.Option(help="Folder that holds the run directories.")]
Run = Annotated[Path | None, typer.Option(help="A run directory; by default the newest.")]
Fix = Annotated[
    list[str] | None,
    typer.Option(help="Pin a key of the space, such as adversary.epsilon=4/255 (repeatable)."),
]


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"taskgroup {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Search auxiliary tasks, loss weights and attack budgets that make a main task robust."""


@app.command()
def search(
    space: Annotated[
        str | None,
        typer.Option(help="Search space: a YAML file, or a name that `spaces list` shows."),
    ] = None,
    fix: Fix = None,
    run: Annotated[
        Path | None,
        typer.Option(help="New run directory; by default the next free <space>-N."),
    ] = None,
    runs: Runs = DEFAULT_RUNS,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this run directory where it stopped.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search a space and write the answer, the checkpoints and a report into a run directory."""
    from taskgroup.analysis.report import write_report
    from taskgroup.search.run import search as run_search

    result = run_search(space, fixes=fix or (), run=run, runs=runs, resume=resume)
    report = write_report(result.run)
    if as_json:
        typer.echo(json.dumps(result.to_json() | {"report": str(report)}))
    else:
        typer.echo(result.summary(report))


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

    with _progress(not as_json) as progress:
        done = run_evaluate(target, run=run, runs=runs, images=images, seed=seed, progress=progress)
    _print_table(evaluation_table(done.rows), as_json)
    if not as_json and done.path is not None:
        typer.echo(f"Written to {done.path}")


@app.command()
def report(run: Run = None, runs: Runs = DEFAULT_RUNS) -> None:
    """Write one HTML file with every chart of a run; it opens offline."""
    from taskgroup.analysis.report import write_report

    typer.echo(f"Report: {write_report(_open_run(run, runs))}")


@app.command()
def train(
    space: Annotated[str, typer.Option(help="Search space: a YAML file or a shipped name.")],
    fix: Fix = None,
    run: Annotated[
        Path | None,
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


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="Data set, such as scenes, cifar10 or camvid.")],
    out: Annotated[Path | None, typer.Option(help="PNG to write; by default <name>.png.")] = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--task", help="Task to show (repeatable); by default all.")
    ] = None,
    split: Annotated[
        Literal["train", "validation", "confirm", "test"], typer.Option(help="Which split to show.")
    ] = "train",
    count: Annotated[int, typer.Option(min=1, max=64, help="Number of pictures.")] = 8,
    size: Annotated[int | None, typer.Option(help="Image size in pixels.")] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder of the files; else TASKGROUP_DATA.")
    ] = None,
) -> None:
    """Draw samples of a data set with the labels of every task into one picture."""
    from taskgroup.config import parse
    from taskgroup.data.base import DATASETS
    from taskgroup.data.gallery import draw_gallery

    given = {"name": name, "image_size": size, "root": root}
    out = out or Path(f"{name}.png")
    draw_gallery(parse(DATASETS[name], given), out, split=split, tasks=tasks, count=count)
    typer.echo(f"Gallery: {out}")


@spaces_app.command("list")
def spaces_list(as_json: Json = False) -> None:
    """Name every space that `search --space NAME` finds."""
    from taskgroup.analysis.spaces import spaces_table
    from taskgroup.search.find import list_spaces

    _print_table(spaces_table(list_spaces()), as_json)


@spaces_app.command("show")
def spaces_show(name: Annotated[str, typer.Argument(help="A space's name or path.")]) -> None:
    """Print the YAML of a space."""
    from taskgroup.search.find import find_space

    typer.echo(find_space(name).read_text(encoding="utf-8"), nl=False)


@spaces_app.command("check")
def spaces_check(
    file: Annotated[str, typer.Argument(help="A space's path or name.")], fix: Fix = None
) -> None:
    """Check a space without running it."""
    from taskgroup.search.space import load_space

    typer.echo(f"{file}: {load_space(file, fixes=fix or ()).describe()}")


@runs_app.command("list")
def runs_list(runs: Runs = DEFAULT_RUNS, as_json: Json = False) -> None:
    """List run directories, newest first."""
    from taskgroup.analysis.tables import runs_table

    _print_table(runs_table(runs), as_json)


@runs_app.command("show")
def runs_show(
    run: Annotated[Path | None, typer.Argument(help="Run directory; default: newest.")] = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Show the trials of a run."""
    from taskgroup.analysis.tables import trials_table

    _print_table(trials_table(_open_run(run, runs)), as_json)


@app.command()
def schema() -> None:
    """Print the JSON schema of a search space, for completion in editors."""
    from taskgroup.search.schema import space_schema

    typer.echo(json.dumps(space_schema(), indent=2))


def _open_run(run: Path | None, runs: Path) -> "RunDirectory":
    from taskgroup.results.run_directory import RunDirectory, newest

    return RunDirectory.open(run) if run is not None else newest(runs)


def _print_table(table: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(table.to_json()))
        return
    from rich.console import Console

    Console().print(table.to_rich())


@contextmanager
def _progress(shown: bool) -> Iterator[Callable[[int, int, str], None] | None]:
    """A progress bar with the time left on stderr; None where nothing should be shown."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("evaluate", total=None)
        yield lambda done, total, label: bar.update(
            task, completed=done, total=total, description=label
        )
