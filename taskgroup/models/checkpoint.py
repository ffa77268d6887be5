"""Checkpoints: weights with everything needed to rebuild the network that they belong to.

A file is torch's zip format holding plain values and tensors only, so that it loads with
``weights_only=True``; code inside a file is refused, never run.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from taskgroup.config import parse
from taskgroup.errors import ConfigError, DataError
from taskgroup.models.base import ModelConfig, Network
from taskgroup.models.build import build_model
from taskgroup.models.torch_files import check_archive, read_plain
from taskgroup.results.records.cells import is_of_type
from taskgroup.results.records.columns import Column, columns_of
from taskgroup.results.storage.places import Place
from taskgroup.results.storage.single_files import exists, read_place, write_place
from taskgroup.tasks.base import TaskInfo, build_task
from taskgroup.wording import counted

FORMAT = "taskgroup checkpoint"
FORMAT_VERSION = 1
UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError)
"""What Python and torch raise on values of the wrong kind."""
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
    if not isinstance(content, dict) or not _is(content.get("format"), FORMAT):
        raise DataError(
            f"{path} must be a checkpoint written by taskgroup, found another torch file; choose "
            "one below a run directory's checkpoints, or name its network: taskgroup evaluate "
            "FILE --model drn_d_22 --dataset camvid"
        )
    if not _is(content.get("version"), FORMAT_VERSION):
        raise DataError(
            f"checkpoint {path} must have version {FORMAT_VERSION}, found "
            f"{' '.join(repr(content.get('version')).split())[:40]}; update taskgroup"
        )
    return replace(_parse(content, path), digest=hashlib.sha256(file).hexdigest())


def _is(value: Any, wanted: str | int) -> bool:
    """Whether a value from a file, which may be a tensor, is this one."""
    return type(value) is type(wanted) and bool(value == wanted)


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
        problem = " ".join(str(error).split())
        raise DataError(f"{checkpoint.source} describes no network of ours: {problem}") from None
    except (*UNFIT, MemoryError) as error:  # values that no description of ours has
        problem = " ".join(str(error).split())[:120]
        raise DataError(f"{checkpoint.source} describes no network of ours: {problem}") from None
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
        if type(content.get(key)) is not kind:
            found = type(content.get(key)).__name__
            raise DataError(
                f"{path} must hold {key} as {kind.__name__}, found {found}; the file is foreign"
            )
    for key in ("config", "weights"):
        if not all(isinstance(name, str) for name in content[key]):
            raise DataError(f"{path} must hold {key} by name, but does not; the file is foreign")
    if content["epoch"] < 0:
        raise DataError(
            f"{path} must have an epoch of 0 or more, found {content['epoch']}; the file was edited"
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
    known = {column.name: column for column in columns_of(TaskInfo)}
    if (
        not isinstance(values, dict)
        or "name" not in values
        or not values.keys() <= known.keys()
        or not all(_is_of_column(value, known[key]) for key, value in values.items())
    ):
        raise DataError(f"{path} must describe tasks as taskgroup does; the file is foreign")
    plain: dict[str, Any] = {
        key: tuple(value) if known[key].collect else value for key, value in values.items()
    }
    return TaskInfo(**plain)


def _is_of_column(value: Any, column: Column) -> bool:
    return column.is_optional if value is None else is_of_type(value, column.type)


def _check_weights(model: Network, checkpoint: Checkpoint) -> None:
    """One line where names, shapes or types differ, or a number is none."""
    own = model.state_dict()
    forms = {name: _form(value) for name, value in own.items()}
    given = {name: _form(value) for name, value in checkpoint.weights.items()}
    wrong = sorted(n for n in forms.keys() | given.keys() if forms.get(n) != given.get(n))
    if wrong:
        name = wrong[0]
        raise DataError(
            f"{checkpoint.source} must fit its own model section, but does not in "
            f"{counted(len(wrong), 'weight')}: {name} should have {forms.get(name, 'no place')}, "
            f"found {given.get(name, 'none')}; the file is damaged or was edited"
        )
    for name, value in own.items():
        if bool(value.isfinite().all()) and not bool(checkpoint.weights[name].isfinite().all()):
            raise DataError(
                f"{checkpoint.source} must hold finite weights, but {name} has NaN or infinity; "
                "the file was edited, or its training diverged"
            )


def _form(value: Any) -> str:
    """Shape and type of a weight, as the part of a sentence."""
    if not isinstance(value, Tensor) or value.is_nested or value.layout is not torch.strided:
        return f"a {type(value).__name__} of another kind"
    if value.device.type == "meta":
        return "a tensor without values"
    return f"shape {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
