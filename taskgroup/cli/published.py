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
TaskOptions = Annotated[
    str | None,
    typer.Option(
        help="With --model: losses of its tasks that are attacked, as a mapping: "
        "'{normals: {loss: l1}}'."
    ),
]


def published_target(
    target: str,
    *,
    model: str | None,
    dataset: str | None,
    tasks: list[str] | None,
    task_options: str | None,
    run: str | None,
    runs: str,
) -> str:
    """The target itself, or with ``--model`` the checkpoint made from a published file."""
    from taskgroup.errors import ConfigError

    if model is None:
        options = {"--dataset": dataset, "--task": tasks, "--task-options": task_options}
        for given in (option for option, value in options.items() if value):
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

    described = PublishedOptions(model, dataset, tuple(tasks or ()), task_options)
    found = import_published(target, described, runs=runs)
    if found.left_out:
        typer.echo(f"Heads left out: {', '.join(found.left_out)}", err=True)
    return found.checkpoint
