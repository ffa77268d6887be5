"""A published checkpoint as a run of ours: one trial, finished, that every command can read.

What a file does not say, the reader does: the network, the data set, and which of the tasks that it
predicts are wanted. Tables, shards and reports then are those of any other run.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from torch import nn

from taskgroup.attacks.base import ThreatModel
from taskgroup.config import parse, parse_yaml, to_yaml
from taskgroup.data.base import DatasetConfig, check_tasks, parse_dataset
from taskgroup.data.loading import open_dataset
from taskgroup.errors import ConfigError, DataError
from taskgroup.models.checkpoint import Checkpoint, save_checkpoint
from taskgroup.models.foreign.key_families import TASK_NAMES, PublishedHead
from taskgroup.models.foreign.published import (
    Published,
    build_published,
    complete,
    load_published,
)
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import DEFAULT_PARENT, SPACE_FILE, RunDirectory
from taskgroup.results.storage.places import Place, within
from taskgroup.results.storage.single_files import exists, read_place
from taskgroup.tasks.base import Task, TaskInfo, build_task, output_dimension
from taskgroup.tasks.options import TaskOptions, with_options

THREAT = ThreatModel(epsilon=4 / 255)
"""Where ``--epsilon`` and ``--norm`` are left out; the radius of MTRobust's released scripts."""


@dataclass(frozen=True)
class PublishedOptions:
    """What a reader says about a published file.

    Attributes:
        model: Backbone, or a ``model:`` section as a YAML mapping.
        dataset: Data set, or a ``dataset:`` section as a YAML mapping.
        tasks: Tasks to keep, the main one first, by our names or the file's; none means all that
            the data set has.
        task_options: A ``task_options:`` section as a YAML mapping: the losses that are attacked.
    """

    model: str
    dataset: str | None = None
    tasks: tuple[str, ...] = ()
    task_options: str | None = None


@dataclass(frozen=True)
class Imported:
    """A published checkpoint in a run directory.

    Attributes:
        checkpoint: Where it lies now.
        task_set: Its tasks, the main one first.
        left_out: Names of heads that were not kept.
    """

    checkpoint: str
    task_set: tuple[str, ...]
    left_out: tuple[str, ...]


def import_published(
    file: Place, options: PublishedOptions, *, runs: Place = DEFAULT_PARENT
) -> Imported:
    """Write a published checkpoint as the only trial of a run directory.

    The directory's name follows from the file's content and the options, so that the same call
    comes to the same run and resumes where an evaluation stopped.

    Args:
        file: What was published.
        options: What the reader says about it.
        runs: Folder of run directories.

    Raises:
        DataError: A file that is missing, damaged or foreign, holds code, or does not fit the
            network; a data set that is missing.
        ConfigError: An unknown network, data set or task, or none that file and data share; an
            option that does not fit its task.
        ResourceError: The run directory cannot be written.
    """
    published = load_published(file)
    config = complete(_section(options.model, "backbone", option="--model"), published)
    dataset = _dataset(options.dataset)
    heads = kept_heads(published, dataset, options.tasks)
    given = _task_options(options.task_options, [head.task for head in heads])
    wanted = {
        head.task: with_options(dataset.tasks()[head.task], given.get(head.task, TaskOptions()))
        for head in heads
    }
    infos = tuple(described(head, wanted[head.task], file) for head in heads)
    tasks = [build_task(info) for info in infos]
    kept = {head.name: task.name for head, task in zip(heads, tasks, strict=True)}
    model = build_published(published, config, tasks, kept)
    names = tuple(task.name for task in tasks)
    trial = {
        "dataset": dataset.model_dump(mode="json"),
        "model": config.model_dump(mode="json"),
        "main_task": names[0],
        "auxiliary_tasks": list(names[1:]),
        "validation": {"attack": "apgd", **THREAT.model_dump(mode="json")},
    }
    if given:
        trial["task_options"] = {
            name: entry.model_dump(mode="json") for name, entry in given.items()
        }
    run = _write(file, trial, infos, model, _numbers_per_image(dataset, tasks), runs)
    left_out = tuple(head.name for head in published.heads if head.name not in kept)
    return Imported(run.place_of(run.checkpoint_name(0)), names, left_out)


def _section(text: str, key: str, *, option: str) -> Mapping[str, Any]:
    """A section from a name, or from a mapping written as YAML."""
    return parse_yaml(text, source=option) if text.lstrip().startswith("{") else {key: text}


def _dataset(text: str | None) -> DatasetConfig:
    if text is None:
        raise ConfigError(
            "--dataset must name the images to attack, got none; add for example --dataset "
            "camvid, or --dataset '{name: camvid, root: FOLDER}'"
        )
    try:
        return parse_dataset(_section(text, "name", option="--dataset"))
    except ValueError as error:
        raise ConfigError(f"--dataset: {error}") from None


def _task_options(text: str | None, tasks: Sequence[str]) -> Mapping[str, TaskOptions]:
    """What the reader says about the kept tasks, by name."""
    sections = parse_yaml(text, source="--task-options") if text is not None else {}
    for name in sections:
        if name not in tasks:
            raise ConfigError(
                f"--task-options must name tasks that are kept, got {name!r}; "
                f"choose from: {', '.join(tasks)}"
            )
    return {
        name: parse(TaskOptions, section, source=f"--task-options: {name}")
        for name, section in sections.items()
    }


def _numbers_per_image(dataset: DatasetConfig, tasks: list[Task]) -> int:
    """Numbers that the network predicts for the first test image."""
    opened = open_dataset(dataset, "test", tuple(task.name for task in tasks))
    height, width = opened[0].images.shape[-2:]
    return output_dimension(tasks, (height, width))


def _write(
    file: Place,
    trial: Mapping[str, Any],
    infos: tuple[TaskInfo, ...],
    model: nn.Module,
    numbers: int,
    runs: Place,
) -> RunDirectory:
    """The run directory of a file; the same file under the same options has the same one."""
    stem = PurePosixPath(str(file)).name.split(".")[0]
    options = json.dumps(trial, sort_keys=True).encode()
    digest = hashlib.sha256(read_place(file) + options).hexdigest()[:8]
    place = within(runs, f"{stem}-{digest}")
    if exists(within(place, SPACE_FILE)):
        run = RunDirectory.open(place)
    else:
        run = RunDirectory.create_at(place, _space(stem, trial, infos))
    save_checkpoint(Checkpoint(trial, infos, model.state_dict(), epoch=0), run.checkpoint_path(0))
    run.write_trial(
        TrialResult(
            number=0,
            label=stem,
            role="searched",
            config=trial,
            parameters={},
            main_task=trial["main_task"],
            auxiliary_tasks=tuple(sorted(trial["auxiliary_tasks"])),
            output_dimension=numbers,
            status="complete",
            checkpoint=run.checkpoint_name(0),
        )
    )
    return run


def _space(stem: str, trial: Mapping[str, Any], infos: tuple[TaskInfo, ...]) -> str:
    """What the run's trial is, in the words of a search space."""
    main = build_task(infos[0])
    objective = {main.direction: f"{main.name}/robust/{main.main_score}"}
    return to_yaml({"name": stem, **trial, "objectives": [objective]})


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
