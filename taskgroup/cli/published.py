"""The options of ``evaluate`` that say what a published checkpoint file does not."""

from typing import Annotated

import typer

Model = Annotated[
    str | None,
    typer.Option(
        help="Network of a published checkpoint, e.g. drn_d_22, or a mapping: "
        "'{backbone: drn_d_22, untied: true}'."
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        help="With --model: data set to evaluate on, e.g. camvid, or a mapping: "
        "'{name: camvid, root: FOLDER}'."
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        help="With --model: task to keep, the main one first (repeatable); default: all that the "
        "data set has."
    ),
]


def published_target(
    target: str,
    *,
    model: str | None,
    dataset: str | None,
    tasks: list[str] | None,
    run: str | None,
    runs: str,
) -> str:
    """The target itself, or with ``--model`` the checkpoint made from a published file."""
    from taskgroup.errors import ConfigError

    if model is None:
        if dataset is not None or tasks:
            given = "--dataset" if dataset is not None else "--task"
            raise ConfigError(
                f"{given} must come with --model, got none; name the network of the published "
                f"checkpoint, or drop {given} for a checkpoint made by taskgroup"
            )
        return target
    if run is not None:
        raise ConfigError(
            "--run must not be given with --model, since a published checkpoint gets a run "
            f"directory of its own; got {run}; choose its parent folder with --runs"
        )
    from taskgroup.evaluation.foreign.published import PublishedOptions, import_published

    options = PublishedOptions(model, dataset, tuple(tasks or ()))
    found = import_published(target, options, runs=runs)
    if found.left_out:
        typer.echo(f"Heads left out: {', '.join(found.left_out)}", err=True)
    return found.checkpoint
