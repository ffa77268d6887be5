"""A checkpoint with anything odd in it is one line, whatever check sums it carries.

Its trial is started again then: ``tests/search/engine/test_recording.py``.
"""

import copy

import pytest
import torch

from taskgroup.errors import DataError, TaskgroupError
from taskgroup.evaluation.loading import load_trained
from taskgroup.training.fit import fit, prepare
from taskgroup.training.state import read_rows

NAN = float("nan")
VALUES = (
    None, True, -1, 2**70, 1.5, NAN, "weird", b"", [], [None], {}, {"a": 1}, {1: 2}, (),
    torch.tensor(NAN), torch.zeros(0), torch.zeros(2, 3).to_sparse(), torch.ones(3, device="meta"),
)  # fmt: skip
"""What stands in place of each part of a file, one at a time."""


@pytest.fixture
def good(trial, recorder, tmp_path):
    """A checkpoint after two epochs."""
    path = tmp_path / "good.pt"
    fit(trial(auxiliary_tasks=["depth"]), recorder(), checkpoint=path)
    return path


def places(value, path=(), depth=5):
    """The way to every part of plain data; of many weights the first two."""
    yield path
    if depth and isinstance(value, dict | list | tuple):
        pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
        for key, inner in pairs[:2] if len(pairs) > 12 else pairs:
            yield from places(inner, (*path, key), depth - 1)


def replaced(value, path, new):
    """Plain data with the part at the end of a way replaced."""
    if not path:
        return new
    changed = copy.copy(list(value) if isinstance(value, tuple) else value)
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return tuple(changed) if isinstance(value, tuple) else changed


def test_an_odd_part_is_named_in_one_line_or_changes_nothing(good, trial, tmp_path):
    config = trial(auxiliary_tasks=["depth"], training={"epochs": 3})
    state, rows = prepare(config, resume=good)
    weights = {name: value.clone() for name, value in state.model.state_dict().items()}
    memory = repr(state.optimizer.state_dict())
    content, odd = torch.load(good, weights_only=True), tmp_path / "odd.pt"
    refused = 0
    ways = [w for w in places(content) if w[:1] != ("config",) or len(w) < 3]
    for number, way in enumerate(ways[::15]):
        for new in VALUES[number % 9 :: 9]:
            torch.save(replaced(content, way, new), odd)
            problem = problem_of(lambda: read_rows(odd)) or problem_of(
                lambda: prepare(config, resume=odd)
            )
            if problem:
                refused += 1
                continue
            changed, found = prepare(config, resume=odd)
            after = changed.model.state_dict()
            same_rows = [r.metrics for r in found] == [r.metrics for r in rows]
            assert same_rows or way[:2] == ("training", "rows"), (way, new)
            assert all(torch.equal(after[name], value) for name, value in weights.items()), way
            same_memory = repr(changed.optimizer.state_dict()) == memory
            assert same_memory or way[:2] == ("training", "optimizer"), (way, new)
    assert refused > 5


def test_an_odd_part_of_a_network_to_evaluate_is_one_line(good, tmp_path):
    content, odd = torch.load(good, weights_only=True), tmp_path / "odd.pt"
    refused = 0
    for number, way in enumerate(w for w in places(content) if w[:1] != ("training",)):
        for new in VALUES[number % 17 :: 17]:
            torch.save(replaced(content, way, new), odd)
            refused += problem_of(lambda: load_trained(odd), TaskgroupError) is not None
    assert refused > 5


def problem_of(read, kind=DataError):
    """The line that says what is wrong; None where nothing is."""
    try:
        read()
    except kind as error:
        text = str(error)
    else:
        return None
    assert "\n" not in text
    return text


def change_weights(content, change):
    name = next(name for name, value in content["weights"].items() if value.ndim > 1)
    content["weights"][name] = change(content["weights"][name])


def change_memory(content, name, change):
    memory = content["training"]["optimizer"]["state"][0]
    memory[name] = change(memory[name])


ALTERED = {
    "NaN weights": (
        lambda c: change_weights(c, lambda w: w * NAN),
        r"must hold finite weights, but .* has NaN or infinity",
    ),
    "double weights": (
        lambda c: change_weights(c, lambda w: w.double()),
        r"should have shape .* of float32, found shape .* of float64",
    ),
    "turned weights": (lambda c: change_weights(c, lambda w: w.flatten()), "should have shape"),
    "sparse weights": (
        lambda c: change_weights(c, lambda w: w.to_sparse()),
        "found a Tensor of another kind",
    ),
    "negative epoch": (lambda c: c.update(epoch=-1), "must have an epoch of 0 or more, found -1"),
    "epoch of truth": (lambda c: c.update(epoch=True), "must hold epoch as int, found bool"),
    "more epochs": (
        lambda c: c.update(epoch=7),
        r"must hold a row for each of its 7 epochs, found those of \[1, 2\]",
    ),
    "a row twice": (
        lambda c: c["training"]["rows"].append(c["training"]["rows"][1]),
        r"must hold a row for each of its 2 epochs, found those of \[1, 2, 2\]",
    ),
    "a task of numbers": (
        lambda c: c["tasks"][0].update(num_classes="5"),
        "must describe tasks as taskgroup does",
    ),
    "a task of no classes": (
        lambda c: c["tasks"][0].update(num_classes=-2),
        "describes no network of ours",
    ),
    "memory of another shape": (
        lambda c: change_memory(c, "exp_avg", lambda m: m[:1].flatten()),
        "exp_avg of parameter 0 is none of an optimiser",
    ),
    "negative squares": (
        lambda c: change_memory(c, "exp_avg_sq", lambda m: m - 1),
        "exp_avg_sq of parameter 0 is none of an optimiser",
    ),
    "half a memory": (
        lambda c: c["training"]["optimizer"]["state"][0].pop("exp_avg"),
        "lacks part of its memory of parameter 0",
    ),
    "no memory": (
        lambda c: c["training"]["optimizer"].update(state={}),
        "the optimiser has no memory",
    ),
}


def test_what_is_odd_is_named(good, trial, tmp_path):
    content, odd = torch.load(good, weights_only=True), tmp_path / "odd.pt"
    config = trial(auxiliary_tasks=["depth"], training={"epochs": 3})
    for change, problem in ALTERED.values():
        altered = copy.deepcopy(content)
        change(altered)
        torch.save(altered, odd)
        with pytest.raises(DataError, match=rf"odd\.pt.*{problem}") as caught:
            prepare(config, resume=odd)
        assert "\n" not in str(caught.value)


def test_settings_of_the_optimizer_are_those_of_the_trial(good, trial, tmp_path):
    config = trial(auxiliary_tasks=["depth"], training={"epochs": 3})
    content, odd = torch.load(good, weights_only=True), tmp_path / "odd.pt"
    for group in content["training"]["optimizer"]["param_groups"]:
        group |= {"weight_decay": 9.0, "betas": (NAN, "x"), "eps": -1}
    torch.save(content, odd)
    same_settings = prepare(config, resume=good)[0].optimizer.param_groups
    found = prepare(config, resume=odd)[0].optimizer.param_groups
    for group, other in zip(found, same_settings, strict=True):
        assert {k: v for k, v in group.items() if k != "params"} == {
            k: v for k, v in other.items() if k != "params"
        }
