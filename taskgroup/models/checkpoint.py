"""Checkpoints: weights with everything needed to rebuild the network that they belong to.

A file is torch's zip format holding plain values and tensors only, so that it loads with
``weights_only=True``; code inside a file is refused, never run.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from taskgroup.config import parse
from taskgroup.errors import ConfigError, DataError
from taskgroup.models.base import ModelConfig, Network
from taskgroup.models.build import build_model
from taskgroup.models.torch_files import check_archive, read_plain
from taskgroup.results.storage.places import Place
from taskgroup.results.storage.single_files import exists, read_place, write_place
from taskgroup.tasks.base import TaskInfo, build_task
from taskgroup.wording import counted

FORMAT = "taskgroup checkpoint"
FORMAT_VERSION = 1
PLAIN = (str, int, float, bool, bytes, Tensor, type(None))


@dataclass(frozen=True)
class Checkpoint:
    """A trained network at the end of an epoch.

    Attributes:
        config: The trial's configuration as plain data; its ``model`` section is needed.
        tasks: What the network predicts, in the order of its heads.
        weights: Parameters and buffers by name, on the CPU once loaded.
        epoch: Number of epochs finished.
        training: What resuming needs (optimiser, schedule, random states) as plain data and
            tensors, or None.
        source: Where it was loaded from, for messages; not stored.
        digest: SHA-256 of the file that it was loaded from; not stored.
    """

    config: Mapping[str, Any]
    tasks: tuple[TaskInfo, ...]
    weights: Mapping[str, Tensor]
    epoch: int
    training: Mapping[str, Any] | None = None
    source: str = field(default="the checkpoint", compare=False)
    digest: str = field(default="", compare=False)


def save_checkpoint(checkpoint: Checkpoint, place: Place) -> None:
    """Write ``place``, replacing what is there; a crash leaves the old file or the new one.

    Args:
        checkpoint: Plain data and tensors only.
        place: File, or an address in an object store, which takes one upload.

    Raises:
        ResourceError: The place is not writable, or full, or cannot be reached.
        TypeError: Something that is neither plain data nor a tensor (our own mistake).
    """
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "config": _plain(checkpoint.config, "config"),
        "tasks": [asdict(info) for info in checkpoint.tasks],
        "weights": _plain(checkpoint.weights, "weights"),
        "epoch": checkpoint.epoch,
        "training": _plain(checkpoint.training, "training"),
    }
    buffer = io.BytesIO()  # torch reports a full disk as a RuntimeError of many lines
    torch.save(content, buffer)
    write_place(place, buffer.getbuffer())


def load_checkpoint(path: Place) -> Checkpoint:
    """Read a checkpoint to the CPU; nothing in the file is executed.

    Args:
        path: What ``save_checkpoint`` wrote: a file, or an address.

    Raises:
        DataError: A file that is missing, damaged, foreign, of a later version, or that holds code.
    """
    if not exists(path):
        raise DataError(f"checkpoint {path} must be a file, found none; check the path")
    file = read_place(path)
    check_archive(file, path, advice="choose another")
    content = read_plain(file, path, advice="choose a checkpoint written by taskgroup")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(
            f"{path} must be a checkpoint written by taskgroup, found another torch file; choose "
            "one below a run directory's checkpoints, or name its network: taskgroup evaluate "
            "FILE --model drn_d_22 --dataset camvid"
        )
    if content.get("version") != FORMAT_VERSION:
        raise DataError(
            f"checkpoint {path} must have version {FORMAT_VERSION}, found "
            f"{content.get('version')!r}; update taskgroup"
        )
    return replace(_parse(content, path), digest=hashlib.sha256(file).hexdigest())


def rebuild(checkpoint: Checkpoint) -> Network:
    """The network with its weights, in eval mode, on the CPU; published weights are not fetched.

    Args:
        checkpoint: What ``load_checkpoint`` returned, or what is to be saved.

    Raises:
        DataError: The configuration is not one of ours, or the weights do not fit it.
    """
    try:
        config = parse(ModelConfig, checkpoint.config.get("model", {}))
        unfetched = config.model_copy(update={"pretrained": False})
        tasks = [build_task(info) for info in checkpoint.tasks]
        model = build_model(unfetched, tasks, seed=0)
    except ConfigError as error:
        raise DataError(f"{checkpoint.source} describes no network of ours: {error}") from None
    _check_weights(model, checkpoint)
    model.load_state_dict(dict(checkpoint.weights))
    return model.eval()


def _plain(value: Any, key: str) -> Any:
    """The value with mappings as dicts, or TypeError for what weights-only loading refuses."""
    if isinstance(value, Mapping):
        return {name: _plain(inner, f"{key}.{name}") for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(inner, f"{key}[{i}]") for i, inner in enumerate(value))
    if type(value) in (*PLAIN, torch.nn.Parameter):
        return value.detach() if isinstance(value, Tensor) else value
    raise TypeError(f"checkpoint value {key} must be plain data or a tensor, got {type(value)}")


def _parse(content: Mapping[str, Any], path: Place) -> Checkpoint:
    """A checkpoint from a file's content; DataError where a part has the wrong type."""
    expected = {"config": dict, "tasks": list, "weights": dict, "epoch": int}
    for key, kind in expected.items():
        if not isinstance(content.get(key), kind):
            found = type(content.get(key)).__name__
            raise DataError(
                f"{path} must hold {key} as {kind.__name__}, found {found}; the file is foreign"
            )
    if not isinstance(content.get("training"), dict | None):
        found = type(content["training"]).__name__
        raise DataError(
            f"{path} must hold training as dict or nothing, found {found}; the file is foreign"
        )
    return Checkpoint(
        config=content["config"],
        tasks=tuple(_task_info(values, path) for values in content["tasks"]),
        weights=content["weights"],
        epoch=content["epoch"],
        training=content.get("training"),
        source=f"checkpoint {path}",
    )


def _task_info(values: Any, path: Place) -> TaskInfo:
    known = {entry.name for entry in fields(TaskInfo)}
    if not isinstance(values, dict) or "name" not in values or not set(values) <= known:
        raise DataError(f"{path} must describe tasks as taskgroup does; the file is foreign")
    return TaskInfo(**values)


def _check_weights(model: Network, checkpoint: Checkpoint) -> None:
    """One line where names or shapes differ."""
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {
        name: tuple(value.shape) if isinstance(value, Tensor) else None
        for name, value in checkpoint.weights.items()
    }
    wrong = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
    if wrong:
        name = wrong[0]
        raise DataError(
            f"{checkpoint.source} must fit its own model section, but does not in "
            f"{counted(len(wrong), 'weight')}: {name} should have shape {own.get(name)}, "
            f"found {given.get(name)}; the file is damaged or was edited"
        )
