"""``data``: inspect data sets, and make resized copies of them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from taskgroup.cli.app import app, group

SHOWN_PROBLEMS = 20

data_app = group("Inspect data sets, and make resized copies of them.")
app.add_typer(data_app, name="data")


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="Data set, e.g. scenes, cifar10 or camvid.")],
    out: Annotated[Path | None, typer.Option(help="PNG to write; default: <name>.png.")] = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--task", help="Task to show (repeatable); default: all.")
    ] = None,
    split: Annotated[
        Literal["train", "validation", "confirm", "test"], typer.Option(help="Split to show.")
    ] = "train",
    count: Annotated[int, typer.Option(min=1, max=64, help="Number of pictures.")] = 8,
    size: Annotated[int | None, typer.Option(help="Resize to this many pixels.")] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder with the files; default: below TASKGROUP_DATA.")
    ] = None,
) -> None:
    """Draw samples of a data set, with the labels of every task, as one image."""
    from taskgroup.config import parse
    from taskgroup.data.base import DATASETS
    from taskgroup.data.census import census_text, census_warning, split_counts
    from taskgroup.data.gallery import draw_gallery

    given = {"name": name, "image_size": size, "root": root}
    out = out or Path(f"{name}.png")
    config = parse(DATASETS[name], given)
    draw_gallery(config, out, split=split, tasks=tasks, count=count)
    typer.echo(f"Gallery: {out}")
    counts = split_counts(config, "classification")
    for line in filter(None, (census_text(counts), census_warning(counts))):
        typer.echo(line[:1].upper() + line[1:])


@data_app.command("prepare")
def data_prepare(
    name: Annotated[
        Literal["cityscapes", "taskonomy", "camvid"], typer.Argument(help="Data set to copy.")
    ],
    source: Annotated[Path, typer.Argument(help="Folder with its files; never written to.")],
    dest: Annotated[Path, typer.Argument(help="Folder for the copy; complete files are kept.")],
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH in pixels, or one number for both.")],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one per core.")
    ] = None,
) -> None:
    """Make a resized copy of a data set: labels by nearest neighbour, all else bilinear."""
    import os

    from rich.console import Console
    from rich.progress import Progress

    from taskgroup.data.prepare.copies import parse_size, prepare

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(f"prepare {name}", total=None)
        done = prepare(
            name,
            source,
            dest,
            size=parse_size(size),
            workers=workers or os.cpu_count() or 1,
            report=lambda done, total: bar.update(task, completed=done, total=total),
        )
    typer.echo(f"Prepared: {dest} (files written: {done.written}, kept: {done.kept})")
    for problem in done.problems[:SHOWN_PROBLEMS]:
        typer.echo(f"taskgroup: {problem}", err=True)
    if done.problems:
        typer.echo(f"taskgroup: files that could not be prepared: {len(done.problems)}", err=True)
        raise typer.Exit(1)
