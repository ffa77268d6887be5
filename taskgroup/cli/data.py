"""``data``: look at data sets."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from taskgroup.cli.app import app, group

data_app = group("Look at data sets.")
app.add_typer(data_app, name="data")


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
