"""From stored results to the page: which goals are met, and the tables behind them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import torch
from peers import installed
from strength_results import DEPTH_L1, FACTORS, Store, suite_keys

BELOW_SEA = 1.0
ABOVE_SEA_NATURAL = 0.6
MOVED_BY_SCALE = 0.3
ABOVE_STANDARD = 0.5
ABOVE_PEERS = 0.1
QUICK, LONG, SEA = "tempered 50", "tempered 300", "sea 300"


@dataclass(frozen=True)
class Check:
    """A goal on one network; scores in percent, the difference is ours minus the other.

    Attributes:
        goal: What is wanted.
        network: Where.
        ours: Our score.
        other: What it is compared with.
        is_met: Whether the goal is met.
        note: Passes of both, or what the rest of the row is about.
    """

    goal: str
    network: str
    ours: float
    other: float
    is_met: bool
    note: str


def main_score(store: Store) -> str:
    """Name of the score that a goal is about."""
    return next(iter(store.metric.directions))


def kind(store: Store) -> str:
    """Main task of a network."""
    return store.seen.case.main_task


def has(store: Store, names: Sequence[str]) -> bool:
    """Whether all these attacks were run."""
    return bool(names) and all(name in store for name in names)


def percent(store: Store, names: Sequence[str], score: str, member: str | None = None) -> float:
    """Worst case in percent."""
    return 100 * store.worst(names, score, member)


def checks(stores: Sequence[Store]) -> Iterator[Check]:
    """All goals on all networks whose attacks are finished."""
    for goal in (_quick_sea, _standard_sea, _scale, _quick_standard, _peers):
        for store in stores:
            if kind(store) != "depth":
                yield from goal(store)


def _quick_sea(store: Store) -> Iterator[Check]:
    if kind(store) != "segmentation" or not has(store, [*suite_keys("quick", store.seen), SEA]):
        return
    quick = percent(store, suite_keys("quick", store.seen), "miou")
    sea = percent(store, [SEA], "miou")
    note = f"{store.passes([QUICK]):.0f} and {store.passes([SEA]):.0f} passes"
    if store.seen.case.is_adversarial:
        goal = f"adversarial: `quick` {BELOW_SEA:g} point below SEA"
        yield Check(goal, store.seen.case.name, quick, sea, quick <= sea - BELOW_SEA, note)
    else:
        goal = f"natural: `quick` at most {ABOVE_SEA_NATURAL:g} above SEA"
        met = quick <= sea + ABOVE_SEA_NATURAL
        yield Check(goal, store.seen.case.name, quick, sea, met, note)


def _standard_sea(store: Store) -> Iterator[Check]:
    names = suite_keys("standard", store.seen)
    if kind(store) != "segmentation" or not has(store, names):
        return
    ours, sea = percent(store, names, "miou"), percent(store, [SEA], "miou")
    note = f"{store.passes([LONG, SEA]):.0f} and {store.passes([SEA]):.0f} passes"
    goal = f"`standard` {BELOW_SEA:g} point below SEA"
    yield Check(goal, store.seen.case.name, ours, sea, ours <= sea - BELOW_SEA, note)


def _scale(store: Store) -> Iterator[Check]:
    plain, score = suite_keys("quick", store.seen), main_score(store)
    scaled = {factor: suite_keys("quick", store.seen, factor) for factor in FACTORS}
    if not has(store, [*plain, *(name for names in scaled.values() for name in names)]):
        return
    ours = percent(store, plain, score)
    moved = {factor: percent(store, names, score) for factor, names in scaled.items()}
    factor = max(moved, key=lambda one: abs(moved[one] - ours))
    met = abs(moved[factor] - ours) <= MOVED_BY_SCALE
    goal = f"`quick` moves by at most {MOVED_BY_SCALE:g} with the logits x 10 or / 1000"
    note = f"logits x {factor:g}, the larger move"
    yield Check(goal, store.seen.case.name, ours, moved[factor], met, note)


def _quick_standard(store: Store) -> Iterator[Check]:
    quick, long = suite_keys("quick", store.seen), suite_keys("standard", store.seen)
    if kind(store) == "classification" and has(store, [*quick, *long]):
        ours, other = percent(store, quick, "accuracy"), percent(store, long, "accuracy")
        goal = f"classification: `quick` at most {ABOVE_STANDARD:g} above `standard`"
        note = f"{store.passes(quick):.0f} and {store.passes(long):.0f} passes"
        met = ours <= other + ABOVE_STANDARD + 1e-9
        yield Check(goal, store.seen.case.name, ours, other, met, note)


def _peers(store: Store) -> Iterator[Check]:
    names, peers = suite_keys("standard", store.seen), store.names("peer ")
    if not has(store, names) or not peers:
        return
    score = main_score(store)
    limit = ABOVE_PEERS if score == "miou" else 100 / len(store.seen.batch)
    ours, other = percent(store, names, score), percent(store, peers, score)
    note = f"{store.passes(names):.0f} and {store.passes(peers):.0f} passes"
    goal = f"`standard` at most {ABOVE_PEERS:g} (accuracy: one image) above all peers together"
    yield Check(goal, store.seen.case.name, ours, other, ours <= other + limit + 1e-9, note)


def goals_table(found: Sequence[Check]) -> list[str]:
    """Every goal with the number of networks on which it is met, then every network."""
    rows = ["| goal | met on |", "|---|---|"]
    for goal in dict.fromkeys(check.goal for check in found):
        own = [check.is_met for check in found if check.goal == goal]
        rows.append(f"| {goal} | {sum(own)} of {len(own)} |")
    rows += [
        "",
        "| goal | network | ours | other | difference | | |",
        "|---|---|---|---|---|---|---|",
    ]
    for check in found:
        verdict = "met" if check.is_met else "**missed**"
        rows.append(
            f"| {check.goal} | {check.network} | {check.ours:.2f} | {check.other:.2f} "
            f"| {check.ours - check.other:+.2f} | {verdict} | {check.note} |"
        )
    return rows


def attacks_table(stores: Sequence[Store]) -> list[str]:
    """Every attack on every network; the scores are worst cases over its members."""
    rows = ["| network | attack | score | accuracy | passes | s |", "|---|---|---|---|---|---|"]
    for store in stores:
        if kind(store) == "depth":
            continue
        score = main_score(store)

        def row(label: str, names: Sequence[str], store: Store = store, score: str = score) -> str:
            seconds = sum(store[name].seconds for name in names)
            own = percent(store, names, score)
            accuracy = f"{percent(store, names, 'accuracy'):.2f}" if score == "miou" else ""
            return (
                f"| {store.seen.case.name} | {label} | {own:.2f} | {accuracy} "
                f"| {store.passes(names):.0f} | {seconds:.0f} |"
            )

        for suite in ("quick", "standard"):
            names = suite_keys(suite, store.seen)
            if has(store, names):
                rows.append(row(f"**suite {suite}**", names))
        if peers := store.names("peer "):
            rows.append(row("**all peers**", peers))
        parts = [*suite_keys("quick", store.seen), *suite_keys("standard", store.seen)]
        for name in dict.fromkeys(part for part in parts if part in store):
            rows.append(row(name, [name]))
            members = store[name].members
            rows += [_member(store, name, member) for member in members if member]
        rows += [row(name.removeprefix("peer "), [name]) for name in peers]
    return rows


def _member(store: Store, name: str, member: str) -> str:
    own, accuracy = (percent(store, [name], score, member) for score in ("miou", "accuracy"))
    return f"| {store.seen.case.name} | {name} / {member} | {own:.2f} | {accuracy:.2f} | | |"


def depth_table(stores: Sequence[Store]) -> list[str]:
    """Scores of depth under one loss and under one per score."""
    rows = []
    for store in stores:
        quick, long = suite_keys("quick", store.seen), suite_keys("standard", store.seen)
        alone = [f"l1 {steps}" for steps in DEPTH_L1]
        if kind(store) != "depth" or not has(store, [*quick, *long, *alone]):
            continue
        columns = {"clean": ["clean"], **{f"APGD on {name} steps": [name] for name in alone}}
        columns |= {"`quick`": quick, "`standard`": long}
        rows += [f"| {store.seen.case.name} | {' | '.join(columns)} |", "|---" * 6 + "|"]
        for score in store.metric.directions:
            values = [f"{store.worst(names, score):.4f}" for names in columns.values()]
            rows.append(f"| {score} | {' | '.join(values)} |")
        passes = [f"{store.passes(names):.0f}" for names in columns.values()]
        rows.append(f"| passes | {' | '.join(passes)} |")
    return rows


def balls_table(stores: Sequence[Store]) -> list[str]:
    """``tempered`` with 50 steps against SEA with 300 in other balls."""
    rows = ["| network | ball | `tempered`, 100 passes | SEA, 900 passes | difference |"]
    rows.append("|---|---|---|---|---|")
    for store in stores:
        for name in store.names("ball "):
            ball, attack = name.removeprefix("ball ").split(": ")
            other = f"ball {ball}: sea"
            if attack == "tempered" and other in store:
                ours, sea = percent(store, [name], "miou"), percent(store, [other], "miou")
                row = f"| {store.seen.case.name} | {ball} | {ours:.2f} | {sea:.2f} "
                rows.append(f"{row}| {ours - sea:+.2f} |")
    return rows


def variants_table(stores: Sequence[Store]) -> list[str]:
    """Variants of ``tempered``, a column per network."""
    done = [store for store in stores if store.names("variant ")]
    if not done:
        return []
    names = done[0].names("variant ")
    rows = ["| variant | " + " | ".join(store.seen.case.name for store in done) + " |"]
    rows.append("|---" * (len(done) + 1) + "|")
    for name in names:
        values = [f"{percent(s, [name], 'miou'):.2f}" if name in s else "" for s in done]
        rows.append(f"| {name.removeprefix('variant ')} | {' | '.join(values)} |")
    return rows


SECTIONS: dict[str, Callable[[Sequence[Store]], list[str]]] = {
    "Depth": depth_table,
    "Other balls": balls_table,
    "Variants": variants_table,
    "All attacks": attacks_table,
}


def page(stores: Sequence[Store]) -> str:
    """Everything as Markdown."""
    head = (
        f"{date.today()}, torch {torch.__version__}, {torch.get_num_threads()} thread, "
        f"{', '.join(installed().values()) or 'no packages of others'}"
    )
    parts = [head, "", *goals_table(list(checks(stores)))]
    for title, table in SECTIONS.items():
        parts += ["", f"## {title}", "", *table(stores)]
    return "\n".join([*parts, ""])
