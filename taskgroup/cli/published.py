"""The options of ``evaluate`` that say what a published checkpoint does not."""

from typing import Annotated

import typer

Model = Annotated[
    str | None,
    typer.Option(
        help="Network of a published checkpoint, such as drn_d_22, or a mapping: "
        "'{backbone: drn_d_22, untied: true}'."
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        help="With --model: the data to attack, such as camvid, or a mapping: "
        "'{name: camvid, root: FOLDER}'."
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        help="With --model: a task to keep, the main one first (repeatable; default all that the "
        "data has)."
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
    """The target itself, or with ``--model`` the checkpoint that a published file becomes."""
    from taskgroup.errors import ConfigError

    if model is None:
        if dataset is not None or tasks:
            given = "--dataset" if dataset is not None else "--task"
            raise ConfigError(
                f"{given} must go with --model, got none; name the network of the published "
                "checkpoint, or leave it out for a checkpoint of taskgroup"
            )
        return target
    if run is not None:
        raise ConfigError(
            "--run must not go with --model: a published checkpoint gets a run directory of its "
            f"own, got {run}; choose the folder with --runs"
        )
    from taskgroup.evaluation.foreign.published import PublishedOptions, import_published

    options = PublishedOptions(model, dataset, tuple(tasks or ()))
    found = import_published(target, options, runs=runs)
    if found.left_out:
        typer.echo(f"Heads left out: {', '.join(found.left_out)}", err=True)
    return found.checkpoint
