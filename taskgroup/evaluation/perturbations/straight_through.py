"""An attack on a network's straight-through copy: BPDA with the identity as every backward pass.

Backward pass differentiable approximation of Athalye, Carlini and Wagner (2018, arXiv:1802.00420):
answers stay as they are, but the gradient passes through what has none, or a wrong one, as if
nothing had been done there. It is tried where gradients do not describe a network; what it leaves
is a bound, too.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

from taskgroup.attacks.base import ThreatModel
from taskgroup.data.base import Batch
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.perturbations.base import BatchSeed, NetworkUnderTest, RowFields

ROUNDING: frozenset[Any] = frozenset(
    getattr(place, name)
    for place in (torch, Tensor)
    for name in ("round", "floor", "ceil", "trunc", "sign")
)
DETACHING: frozenset[Any] = frozenset({torch.detach, Tensor.detach})
HOOKING: frozenset[Any] = frozenset({Tensor.register_hook})
COMPARING: frozenset[Any] = frozenset(
    getattr(place, name) for place in (torch, Tensor) for name in ("gt", "ge", "lt", "le")
) | {Tensor.__gt__, Tensor.__ge__, Tensor.__lt__, Tensor.__le__}
RISING: frozenset[Any] = frozenset(
    {torch.gt, torch.ge, Tensor.gt, Tensor.ge, Tensor.__gt__, Tensor.__ge__}
)
"""Comparisons that become true as the first argument grows."""
CASTING: frozenset[Any] = frozenset({Tensor.float, Tensor.double, Tensor.to, Tensor.type_as})
_ONE_AT_A_TIME = threading.Lock()
MULTIPLYING: frozenset[Any] = frozenset({torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__})


@dataclass(frozen=True)
class StraightThroughAttack:
    """An attack that follows the gradients of the straight-through copy.

    Attributes:
        attack: The attack.
    """

    attack: NetworkAttack

    @property
    def name(self) -> str:
        """Registry name of the attack."""
        return self.attack.name

    @property
    def passes(self) -> float:
        """As many as the attack takes."""
        return self.attack.passes

    @property
    def work(self) -> Mapping[str, Any]:
        """That of the attack, and how gradients pass."""
        return {**self.attack.work, "backward": "straight_through"}

    def apply(
        self, network: NetworkUnderTest, batch: Batch, seed: BatchSeed
    ) -> Mapping[str, Tensor]:
        """Attacked images by member, as the attack itself gives them."""
        return self.attack.apply(
            replace(network, model=StraightThrough(network.model)), batch, seed
        )

    def is_inside(self, threat: ThreatModel) -> bool:
        """Whether the attack's ball lies inside that of a threat model."""
        return self.attack.is_inside(threat)

    def row(self) -> RowFields:
        """What records say of the attack."""
        return self.attack.row()


class StraightThrough(nn.Module):
    """A network whose gradients pass rounding, thresholds, masks, ``detach`` and own functions.

    Products with the outcome of a comparison, such as the winners of a top-k, pass the gradient of
    the other factor unchanged; an own function passes it where its output has the shape of its
    first argument. Hooks on gradients are left out. Predictions are the network's own.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, tasks: Sequence[str]) -> Any:
        """The network's predictions."""
        if not torch.is_grad_enabled():
            return self.network(images, tasks)
        with _passing_functions(), _Passing():
            return self.network(images, tasks)


class _Passing(TorchFunctionMode):
    """Gives torch's functions without a useful gradient that of leaving their input alone."""

    def __init__(self) -> None:
        super().__init__()
        self._sources: dict[int, tuple[Tensor, Tensor]] = {}  # a comparison, what rises with it

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Call ``func``; what carries a gradient through is added."""
        given = kwargs or {}
        if func in DETACHING:
            return args[0]
        if func in HOOKING:
            return None
        found = func(*args, **given)
        if func in ROUNDING and args[0].is_floating_point():
            return _through(found, args[0])
        if func in COMPARING and isinstance(args[0], Tensor) and args[0].requires_grad:
            source = args[0] if func in RISING else -args[0]
            self._sources[id(found)] = (found, source)
        elif func in CASTING and id(args[0]) in self._sources and found.is_floating_point():
            return _through(found, self._sources[id(args[0])][1])
        elif func in MULTIPLYING:
            masks = [id(value) in self._sources for value in args[:2]]
            other = args[1] if masks[0] else args[0]
            if any(masks) and isinstance(other, Tensor) and other.shape == found.shape:
                return _through(found, other)
        return found


def _through(value: Tensor, source: Tensor) -> Tensor:
    """The value, with the gradient of being the source."""
    if value.shape != source.shape:
        return value
    with torch.no_grad():  # ``detach`` would pass its input while own functions are followed
        offset = value - source
    return source + offset


@contextmanager
def _passing_functions() -> Iterator[None]:
    """Meanwhile own functions (``torch.autograd.Function``) pass gradients where shapes allow it.

    torch has no mode that sees them, so their entry is exchanged, by one thread at a time. A module
    that took ``apply`` out of its class when it was imported is not reached.
    """
    with _ONE_AT_A_TIME:
        original: Any = Function.__dict__["apply"]

        def apply(cls: type[Function], *args: Any, **given: Any) -> Any:
            found = original.__get__(None, cls)(*args, **given)
            first = args[0] if args else None
            if isinstance(found, Tensor) and isinstance(first, Tensor):
                return _through(found, first) if found.shape == first.shape else found
            return found

        Function.apply = classmethod(apply)
        try:
            yield
        finally:
            Function.apply = original
