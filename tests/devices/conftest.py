"""Tensors that say they lie on a GPU, on a machine that has none.

Their numbers are real and lie on the CPU, so that code whose way depends on data runs as well,
which torch's fake tensors alone cannot follow. As with those, an operation that meets a tensor of
another place fails, unless that is a single number, which every device takes from the CPU.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

PRETENDED = torch.device("cuda:0")


class WrongPlace(AssertionError):
    """An operation met tensors of two places."""


class Pretended(Tensor):
    """A tensor on the pretended device."""

    @staticmethod
    def __new__(cls, held: Tensor) -> "Pretended":
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=PRETENDED,
            requires_grad=False,
        )

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Pretended({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class PretendedDevice(TorchDispatchMode):
    """Inside, what is made on the pretended device is made there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the numbers; its results lie where its arguments do, or where it says."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, Pretended)]
    wanted = kwargs.get("device")
    moves = func in MOVES or (wanted is not None and func not in MADE_LIKE)
    if there and not moves and func not in COPIES:
        wrong = [t for t in tensors if not isinstance(t, Pretended) and t.ndim > 0]
        if wrong:
            shapes = [tuple(tensor.shape) for tensor in wrong]
            raise WrongPlace(f"{func} met tensors of the CPU beside the GPU's: shapes {shapes}")
    goes = torch.device(wanted).type == "cuda" if wanted is not None else bool(there)
    plain = {key: value for key, value in kwargs.items() if key not in ("device", "pin_memory")}
    if wanted is not None:
        plain["device"] = torch.device("cpu")
    held = tree_map(_held, (args, plain))
    with _disable_current_modes():
        result = func(*held[0], **held[1])
    if func in COPIES or func._schema.is_mutable:
        changed = args[0] if args else None
        if isinstance(changed, Tensor) and isinstance(result, Tensor) and result is _held(changed):
            return changed
    return tree_map(_pretend if goes else _same, result)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Pretended) else value


def _pretend(value: Any) -> Any:
    is_plain = isinstance(value, Tensor) and not isinstance(value, Pretended)
    return Pretended(value) if is_plain else value


def _same(value: Any) -> Any:
    return value


aten = torch.ops.aten
MOVES = {aten._to_copy.default}
COPIES = {aten.copy_.default}
MADE_LIKE = {aten.empty_like.default, aten.zeros_like.default, aten.ones_like.default}


@contextmanager
def pretended_device() -> Iterator[torch.device]:
    """Inside, ``cuda:0`` can be used; generators stay on the CPU."""
    torch._C._ensureCUDADeviceGuardSet()  # autograd then asks for no stream
    # The outer mode sees nothing: under it torch does not ask for a driver.
    with FakeTensorMode(), PretendedDevice(), torch.backends.cudnn.flags(enabled=False):
        yield PRETENDED


def put(module: nn.Module) -> nn.Module:
    """Put a module's parameters and buffers on the pretended device, in place."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                moved = Pretended(value.detach())
                part._parameters[name] = nn.Parameter(moved, requires_grad=value.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = Pretended(buffer)
    return module


def gradient_there(outputs: Any, inputs: Any, *_: Any, **__: Any) -> tuple[Tensor, ...]:
    """In place of torch's engine, which asks for a driver: any numbers where the inputs lie."""
    del outputs
    found = inputs if isinstance(inputs, tuple | list) else (inputs,)
    return tuple(torch.rand_like(value) - 0.5 for value in found)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The pretended device, usable in the test; gradients are made up."""
    monkeypatch.setattr(torch.autograd, "grad", gradient_there)
    with pretended_device() as place:
        yield place


@pytest.fixture(scope="session")
def put_there() -> Callable[[nn.Module], nn.Module]:
    """Puts a module's parameters and buffers on the pretended device."""
    return put


@pytest.fixture(scope="session")
def wrong_place() -> type[WrongPlace]:
    """What is raised where tensors of two places meet."""
    return WrongPlace
