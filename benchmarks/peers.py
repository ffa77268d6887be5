"""Attacks of other packages behind one signature, for the strength table.

Each takes ``logits(images)``, images ``(N, 3, H, W)``, labels ``(N,)`` or ``(N, H, W)`` with -100
where nothing is labelled, and the L-infinity radius, and gives attacked images. Attacks that look
for small distortions are run as Halmosi, Mohos and Jelasity 2024 (arXiv:2407.09150) run them at a
fixed radius, and cut to it. A package that is not installed is left out:

    pip install torchattacks pyautoattack adv-lib adversarial-robustness-toolbox
"""

import os
import sys
import types
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec

import numpy as np
import torch
from own_peers import (
    IGNORED,
    Peer,
    balanced_hinge,
    cosine,
    cosine_weighted,
    cross_entropy,
    padam,
    targeted_margin,
)
from torch import Tensor, nn

PACKAGES = {
    "torchattacks": "torchattacks",
    "pyautoattack": "pyautoattack",
    "adv_lib": "adv-lib",
    "art": "adversarial-robustness-toolbox",
}


def installed() -> dict[str, str]:
    """Versions by module of the packages that are here."""
    sys.modules.setdefault("visdom", types.ModuleType("visdom"))  # adv-lib draws with it, we do not
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # compiling adv-lib's loops takes longer
    return {
        module: f"{name} {metadata.version(name)}"
        for module, name in PACKAGES.items()
        if find_spec(module) is not None
    }


def torchattacks_pgd(steps: int) -> Peer:
    """PGD on the mean cross-entropy with a quarter of the radius per step; works on maps too."""

    def attack(logits: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        import torchattacks

        made = torchattacks.PGD(logits, eps=epsilon, alpha=epsilon / 4, steps=steps)
        return made(images, labels)

    return attack


def pyautoattack_standard(
    logits: nn.Module, images: Tensor, labels: Tensor, epsilon: float
) -> Tensor:
    """AutoAttack, version standard, by its authors' code."""
    import pyautoattack

    made = pyautoattack.AutoAttack(logits, eps=epsilon, seed=0, version="standard")
    attacked, _ = made.run_standard_evaluation(images, labels, batch_size=len(images))
    return attacked


def adv_lib_apgd(logits: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Targeted APGD on the DLR loss."""
    from adv_lib.attacks import apgd_targeted

    return apgd_targeted(logits, images, labels, epsilon, norm=float("inf"))


def art_pgd(logits: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """PGD with 40 steps from 2 random starts."""
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    network = PyTorchClassifier(
        logits,
        nn.CrossEntropyLoss(),
        tuple(images.shape[1:]),
        logits(images[:1]).shape[1],
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = ProjectedGradientDescent(
        network, eps=epsilon, eps_step=epsilon / 4, max_iter=40, num_random_init=2, verbose=False
    )
    made = attack.generate(images.numpy(), labels.numpy().astype(np.int64))
    return torch.from_numpy(made)


def adv_lib_dense(name: str, **options: object) -> Peer:
    """An attack that looks for a small perturbation of a map, cut to the ball in the end."""

    def attack(logits: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        from adv_lib.attacks import segmentation

        masks = labels != IGNORED
        found = getattr(segmentation, name)(
            logits, images, labels.where(masks, 0), masks=masks, **options
        )
        return images + (found - images).clamp(-epsilon, epsilon)

    return attack


OWN = "own"
"""Where attackers come from that belong to no package."""
SLACKS = {"1/32": 1 / 32, "1/8": 1 / 8, "1/2": 1 / 2}
RANKS = (1, 2, 3)


def classification_peers(effort: float) -> Mapping[tuple[str, str], Peer]:
    """By package and name; ``effort`` multiplies the steps of the attackers of no package."""

    def some(steps: int) -> int:
        return round(effort * steps)

    return {
        ("torchattacks", "PGD-100"): torchattacks_pgd(100),
        ("pyautoattack", "AutoAttack"): pyautoattack_standard,
        ("adv_lib", "targeted APGD"): adv_lib_apgd,
        ("art", "PGD-40, 2 starts"): art_pgd,
        (OWN, f"PAdam-CE, {some(200)} steps"): padam(cross_entropy, some(200)),
        **{
            (OWN, f"targeted margin, rank {rank}, {some(200)} steps"): targeted_margin(
                rank, some(200)
            )
            for rank in RANKS
        },
        (OWN, f"hinge, {some(200)} steps"): balanced_hinge(1 / 8, some(200)),
    }


def dense_peers(effort: float) -> Mapping[tuple[str, str], Peer]:
    """By package and name; ``effort`` multiplies all steps but those of DAG, which end early."""

    def some(steps: int) -> int:
        return round(effort * steps)

    return {
        ("torchattacks", f"PGD-{some(300)}"): torchattacks_pgd(some(300)),
        ("adv_lib", f"ALMA prox, {some(500)} steps"): adv_lib_dense(
            "alma_prox", num_steps=some(500), lr_init=0.0001, mask_decay=False
        ),
        ("adv_lib", f"PDPGD, {some(500)} steps"): adv_lib_dense(
            "pdpgd", norm=float("inf"), num_steps=some(500), primal_lr=0.01
        ),
        ("adv_lib", f"DAG, {some(200)} steps"): adv_lib_dense("dag", max_iter=some(200), γ=0.003),
        (OWN, f"PAdam-CE, {some(400)} steps"): padam(cross_entropy, some(400)),
        (OWN, f"PAdam-Cos, {some(400)} steps"): padam(cosine, some(400)),
        (OWN, f"PAdam, cosine-weighted CE, {some(400)} steps"): padam(cosine_weighted, some(400)),
        **{
            (OWN, f"targeted margin, rank {rank}, {some(300)} steps"): targeted_margin(
                rank, some(300)
            )
            for rank in RANKS
        },
        **{
            (OWN, f"balanced hinge, slack {name}, {some(300)} steps"): balanced_hinge(
                slack, some(300)
            )
            for name, slack in SLACKS.items()
        },
    }


def peers_for(is_dense: bool, effort: float = 1.0) -> dict[str, Peer]:
    """The attacks that are here and fit a task, by what a reader calls them."""
    here = {*installed(), OWN}
    every = dense_peers(effort) if is_dense else classification_peers(effort)
    return {f"{module}: {name}": peer for (module, name), peer in every.items() if module in here}
