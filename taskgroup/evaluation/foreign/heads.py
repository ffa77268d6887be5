"""Which heads of a published checkpoint are evaluated, and what each predicts for a data set."""

from collections.abc import Sequence
from dataclasses import replace

from taskgroup.data.base import DatasetConfig, check_tasks
from taskgroup.errors import ConfigError, DataError
from taskgroup.models.foreign.key_families import TASK_NAMES, PublishedHead
from taskgroup.models.foreign.published import Published
from taskgroup.tasks.base import TaskInfo, build_task


def kept_heads(
    published: Published, dataset: DatasetConfig, tasks: Sequence[str]
) -> list[PublishedHead]:
    """The heads to evaluate, the main task's first.

    Args:
        published: The file.
        dataset: Where images and targets come from.
        tasks: What is asked for, by our names or the file's; none means all that the data set has,
            in the file's order.

    Raises:
        ConfigError: A task that the file or the data set lacks, or none that both have.
        DataError: The data set is missing.
    """
    offered = {head.task: head for head in published.heads}
    wanted = list(dict.fromkeys(TASK_NAMES.get(name, name) for name in tasks))
    for name in wanted:
        if name not in offered:
            raise ConfigError(
                f"--task must name what {published.source} predicts, got {name!r}; "
                f"it has: {', '.join(offered) or 'none'}"
            )
    if wanted:
        check_tasks(dataset, wanted)
        return [offered[name] for name in wanted]
    known = dataset.tasks()
    found = [head for name, head in offered.items() if name in known]
    if not found:
        raise ConfigError(
            f"data set {dataset.name!r} must have a task that {published.source} predicts, which "
            f"are: {', '.join(offered) or 'none'}; it has: {', '.join(sorted(known))}; choose "
            "another --dataset"
        )
    return found


def described(head: PublishedHead, info: TaskInfo, source: object) -> TaskInfo:
    """The data set's description of a task, with as many classes as the head predicts.

    A head may have classes that the data set never shows (MTRobust's Taskonomy networks have 18
    for 17): they stay, and predicting one is an error like any other.

    Args:
        head: What is published.
        info: What the data set says.
        source: The file, for messages.

    Raises:
        DataError: The head predicts something else than the data set shows.
    """
    task = build_task(info)
    if head.is_vector == (task.output == "vector"):
        if head.channels == task.channels:
            return info
        if info.num_classes is not None and head.channels > info.num_classes:
            return _with_unused(info, head.channels)
    per = "image" if head.is_vector else "pixel"
    needed = "image" if task.output == "vector" else "pixel"
    raise DataError(
        f"{source} must predict {task.channels} numbers per {needed} for task {info.name!r} of "
        f"this data set, found {head.channels} per {per}; choose the data set that it was trained "
        "on, or other tasks with --task"
    )


def _with_unused(info: TaskInfo, count: int) -> TaskInfo:
    """The task with further classes that no pixel has."""
    more = count - (info.num_classes or 0)
    names = tuple(f"unused {number + 1}" for number in range(more))
    return replace(
        info,
        num_classes=count,
        class_names=info.class_names + names if info.class_names else (),
        class_shares=info.class_shares + (0.0,) * more if info.class_shares else (),
        class_weights=info.class_weights + (1.0,) * more if info.class_weights else (),
    )
