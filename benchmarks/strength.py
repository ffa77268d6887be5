"""Our suites against SEA and against the attacks of other packages, on the same networks.

    TASKGROUP_DATA=... OMP_NUM_THREADS=1 python benchmarks/strength.py --folder DIR

Networks are those of ``strength_networks.py``. Each is attacked in one L-infinity ball by every
attack of suites ``quick`` and ``standard``, by ``quick`` again with its outputs scaled, by the
attacks of ``peers.py``, and, where it is dense, in other balls and by variants of ``tempered``
(``strength_variants.py``). Everything is seeded. Networks and finished attacks are kept in the
folder, and a second call goes on where the first one stopped; the page there, ``page.md``, says
which goals are met.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from peers import peers_for
from strength_networks import Case, Counted, Subject, cases, subject
from strength_page import page
from strength_results import DEPTH_L1, FACTORS, Entry, Store, conditions, key_of, scaled_key
from strength_variants import FEW_IMAGES, other_balls, variants
from torch import Tensor, nn

from taskgroup.attacks.base import AttackBudget
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.perturbations.base import WHOLE, BatchSeed, Perturbation
from taskgroup.evaluation.scoring import predict, sums_per_image
from taskgroup.evaluation.suites.conditions import Condition

IGNORED = -100
Named = Iterator[tuple[str, Callable[[], Entry]]]


class Logits(nn.Module):
    """The main task of a network, as other packages want it."""

    def __init__(self, model: nn.Module, task: str) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, K)`` or ``(N, K, H, W)``."""
        return self.model(images, [self.task])[self.task].float()


def scored(seen: Subject, images: Tensor) -> Tensor:
    """Sums per image ``(N, S)`` of the main task."""
    main = seen.trained.main
    predictions = predict(seen.trained.model, images, [main.name])
    return sums_per_image({main.name: main.metric()}, predictions, seen.batch.targets)[main.name]


def perturbed(seen: Subject, perturbation: Perturbation, factor: float = 1.0) -> Entry:
    """What an attack of ours leaves."""
    network, counted = seen.fresh(factor)
    began = time.perf_counter()
    made = perturbation.apply(network, seen.batch, BatchSeed(0, 0))
    seconds = time.perf_counter() - began
    members = {name or WHOLE: scored(seen, images) for name, images in made.items()}
    return Entry(members, counted.passes(len(seen.batch)), seconds)


def clean(seen: Subject) -> Entry:
    """No attack."""
    return Entry({WHOLE: scored(seen, seen.batch.images)}, 0.0, 0.0)


def condition_entry(seen: Subject, condition: Condition, factor: float = 1.0) -> Entry:
    """A part of a suite; where it checks the first images only, the others are clean."""
    if condition.images is None or condition.images >= len(seen.batch):
        return perturbed(seen, condition.perturbation, factor)
    found = perturbed(seen.first(condition.images), condition.perturbation, factor)
    rest = clean(seen).members[WHOLE][condition.images :]
    members = {name: torch.cat([sums, rest]) for name, sums in found.members.items()}
    share = condition.images / len(seen.batch)
    return Entry(members, found.passes * share, found.seconds)


def peer_entry(seen: Subject, peer: Callable[..., Tensor]) -> Entry:
    """What a peer leaves; an image outside the ball by more than rounding is an error."""
    task, images = seen.trained.main, seen.batch.images
    target, epsilon = seen.batch.targets[task.name], seen.threat.epsilon
    labels = target.values.long().where(target.valid, IGNORED)
    counted = Counted(seen.trained.model)
    logits = Logits(counted, task.name).eval().requires_grad_(False)
    torch.manual_seed(0)
    began = time.perf_counter()
    made = peer(logits, images.clone(), labels, epsilon).detach()
    seconds = time.perf_counter() - began
    assert (made - images).abs().max() <= epsilon + 1e-5
    assert made.min() >= -1e-6
    assert made.max() <= 1 + 1e-6
    members = {WHOLE: scored(seen, made.clamp(0, 1))}
    return Entry(members, counted.passes(len(images)), seconds)


def ours(seen: Subject) -> Named:
    """Clean, both suites, and ``quick`` with scaled outputs."""
    yield "clean", lambda: clean(seen)
    for suite in ("quick", "standard"):
        for condition in conditions(suite, seen):
            yield key_of(condition), lambda one=condition: condition_entry(seen, one)
    for factor in FACTORS if seen.case.main_task != "depth" else ():
        for condition in conditions("quick", seen):
            yield (
                scaled_key(condition, factor),
                lambda one=condition, scale=factor: condition_entry(seen, one, scale),
            )


def others(seen: Subject) -> Named:
    """The peers; for depth, what takes their place is APGD on the absolute error alone."""
    if seen.case.main_task == "depth":
        for steps in DEPTH_L1:
            budget = AttackBudget(epsilon=seen.threat.epsilon, steps=steps)
            attack = NetworkAttack("apgd", budget, ("depth",))
            yield f"l1 {steps}", lambda one=attack: perturbed(seen, one)
        return
    for name, peer in peers_for(seen.case.main_task == "segmentation", seen.case.effort).items():
        yield f"peer {name}", lambda one=peer: peer_entry(seen, one)


def tried(seen: Subject) -> Named:
    """Variants of ``tempered``, on a few images."""
    few = seen.first(FEW_IMAGES)
    for name, variant in variants(seen):
        yield name, lambda one=variant: perturbed(few, one)


def elsewhere(seen: Subject) -> Named:
    """``tempered`` and SEA in other balls, on a few images."""
    few = seen.first(FEW_IMAGES)
    for name, attack in other_balls(seen):
        yield name, lambda one=attack: perturbed(few, one)


STAGES: Mapping[str, Callable[[Subject], Named]] = {
    "ours": ours,
    "variants": tried,
    "peers": others,
    "balls": elsewhere,
}


def run(case: Case, stage: str, folder: Path) -> Store:
    """One stage on one network; what the folder has already is not run again."""
    seen = subject(case, folder)
    store = Store(folder, seen)
    for name, work in STAGES[stage](seen):
        if name not in store:
            entry = work()
            store.write(name, entry)
            print(
                f"{case.name}: {name}, {entry.passes:.0f} passes, {entry.seconds:.0f} s", flush=True
            )
    return store


def main() -> None:
    """Run the stages one after the other; the page is written anew after each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", default="", help="Networks whose name holds this.")
    parser.add_argument("--stages", nargs="+", choices=tuple(STAGES), default=tuple(STAGES))
    arguments = parser.parse_args()
    stores: dict[str, Store] = {}
    for stage in arguments.stages:
        for case in cases():
            if arguments.only in case.name:
                stores[case.name] = run(case, stage, arguments.folder)
                text = page(list(stores.values()))
                (arguments.folder / "page.md").write_text(text, encoding="utf-8")
    print(page(list(stores.values())))


if __name__ == "__main__":
    main()
