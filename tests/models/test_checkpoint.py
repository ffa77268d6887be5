"""Checkpoints: round trip, and one line for every file that is not one."""

import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from taskgroup.errors import DataError, ResourceError
from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.models.checkpoint import Checkpoint, load_checkpoint, rebuild, save_checkpoint
from taskgroup.models.multitask import MultitaskModel
from taskgroup.tasks.base import Task, TaskInfo

MODEL = ModelConfig(width=4, decoder_width=4)


@pytest.fixture
def model(
    make_tasks: Callable[..., list[Task]], train_steps: Callable[[MultitaskModel], None]
) -> MultitaskModel:
    """A network whose statistics and weights have moved."""
    network = build_model(MODEL, make_tasks("segmentation", "classification"), seed=5)
    train_steps(network)
    return network


@pytest.fixture
def checkpoint(model: MultitaskModel) -> Checkpoint:
    infos = (
        TaskInfo("segmentation", 5, ("a", "b", "c", "d", "e"), (0.2,) * 5, 0, (1.0,) * 5),
        TaskInfo("classification", 5),
    )
    config = {"model": MODEL.model_dump(mode="json"), "seed": 5, "anything": [1, {"x": None}]}
    training = {"optimizer": {"step": torch.tensor(3.0), 0: [1.5, True]}, "rng": torch.arange(4)}
    return Checkpoint(config, infos, model.state_dict(), epoch=2, training=training)


@pytest.fixture
def path(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(checkpoint, tmp_path / "trial.pt")
    return tmp_path / "trial.pt"


def assert_one_line(function: Callable[[], object], match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        function()
    assert "\n" not in str(caught.value)


def test_what_is_saved_is_loaded(checkpoint: Checkpoint, path: Path) -> None:
    loaded = load_checkpoint(path)
    assert (loaded.config, loaded.tasks, loaded.epoch) == (checkpoint.config, checkpoint.tasks, 2)
    assert loaded.weights.keys() == checkpoint.weights.keys()
    assert all(torch.equal(value, checkpoint.weights[key]) for key, value in loaded.weights.items())
    assert loaded.training is not None
    assert torch.equal(loaded.training["rng"], torch.arange(4))
    assert loaded.training["optimizer"][0] == [1.5, True]


def test_the_rebuilt_network_predicts_the_same(model: MultitaskModel, path: Path) -> None:
    rebuilt = rebuild(load_checkpoint(path))
    assert not any(module.training for module in rebuilt.modules())
    assert rebuilt.task_names == model.task_names
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected, actual = model.eval()(images), rebuilt(images)
    assert all(torch.equal(expected[name], actual[name]) for name in expected)


def test_rebuilding_fetches_no_published_weights(
    make_tasks: Callable[..., list[Task]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *_, **__: pytest.fail("fetch"))
    weights = build_model(ModelConfig(backbone="resnet18"), make_tasks("depth"), seed=0)
    section = {"backbone": "resnet18", "pretrained": True}
    checkpoint = Checkpoint({"model": section}, (TaskInfo("depth"),), weights.state_dict(), 1)
    rebuild(checkpoint)


def test_saving_replaces_and_leaves_nothing_else(checkpoint: Checkpoint, path: Path) -> None:
    save_checkpoint(replace(checkpoint, epoch=9), path)
    assert load_checkpoint(path).epoch == 9
    assert [entry.name for entry in path.parent.iterdir()] == ["trial.pt"]


def test_a_failed_write_leaves_the_old_file(
    checkpoint: Checkpoint, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match=r"must be writable: no space left on device; free"):
        save_checkpoint(replace(checkpoint, epoch=9), path)
    monkeypatch.undo()
    assert load_checkpoint(path).epoch == 2
    assert [entry.name for entry in path.parent.iterdir()] == ["trial.pt"]


def test_an_impossible_folder_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "nowhere").touch()
    with pytest.raises(ResourceError, match=r"nowhere/trial\.pt must be writable: "):
        save_checkpoint(checkpoint, tmp_path / "nowhere" / "trial.pt")


def test_only_plain_data_is_saved(checkpoint: Checkpoint, tmp_path: Path) -> None:
    hidden = replace(checkpoint, training={"deep": [{"path": tmp_path}]})
    with pytest.raises(TypeError, match=r"training\.deep\[0\]\.path must be plain data"):
        save_checkpoint(hidden, tmp_path / "trial.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file(tmp_path: Path) -> None:
    assert_one_line(lambda: load_checkpoint(tmp_path / "no.pt"), "must be a file, found none")


def test_a_folder(tmp_path: Path) -> None:
    assert_one_line(lambda: load_checkpoint(tmp_path), "must be a file, found none")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file(share: float, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_one_line(lambda: load_checkpoint(path), "found a damaged or foreign file")


@pytest.mark.parametrize("start", range(0, 100, 10))
def test_a_file_with_a_hole_is_refused_or_harmless(start: int, path: Path) -> None:
    """A hole in padding changes nothing; one in a tensor must not give other weights."""
    content = bytearray(path.read_bytes())
    begin = start * len(content) // 100
    weights = load_checkpoint(path).weights
    content[begin : begin + 200] = bytes(200)
    path.write_bytes(content)
    with suppress(DataError):
        damaged = rebuild(load_checkpoint(path)).state_dict()
        assert all(torch.equal(value, damaged[name]) for name, value in weights.items())


def test_an_entry_that_is_said_to_be_a_folder_is_not_read_as_zeros(path: Path) -> None:
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"/data/0"))  # of the first tensor
    content[entry + 38] = 0x10
    path.write_bytes(content)
    assert_one_line(lambda: load_checkpoint(path), "found a damaged or foreign file")


def test_an_archive_whose_entries_begin_before_the_file_is_refused(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[2:])
    assert_one_line(lambda: load_checkpoint(path), "found a damaged or foreign file")


def test_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "notes.pt").write_text("segmentation: yes")
    assert_one_line(lambda: load_checkpoint(tmp_path / "notes.pt"), "damaged or foreign file; ")


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], torch.zeros(3), "text"])
def test_a_foreign_torch_file(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    message = "must be a checkpoint written by taskgroup, found another torch file"
    assert_one_line(lambda: load_checkpoint(tmp_path / "other.pt"), message)


class Hostile:
    """Runs a command where it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


def test_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    torch.save({"format": "taskgroup checkpoint", "x": Hostile(witness)}, tmp_path / "evil.pt")
    message = "found pickled code or damage; nothing was run"
    assert_one_line(lambda: load_checkpoint(tmp_path / "evil.pt"), message)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Hostile(witness)))
    assert_one_line(lambda: load_checkpoint(tmp_path / "plain.pt"), "damaged or foreign file")
    assert not witness.exists()


def test_a_pickled_network_is_refused(model: MultitaskModel, tmp_path: Path) -> None:
    torch.save(model, tmp_path / "module.pt")
    assert_one_line(lambda: load_checkpoint(tmp_path / "module.pt"), "found pickled code")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, r"must have version 1, found 2; update taskgroup"),
        ({"weights": [1]}, r"must hold weights as dict, found list"),
        ({"config": None}, r"must hold config as dict, found NoneType"),
        ({"epoch": "2"}, r"must hold epoch as int, found str"),
        ({"tasks": ["depth"]}, r"must describe tasks as taskgroup does"),
        ({"tasks": [{"name": "depth", "colour": 1}]}, r"must describe tasks as taskgroup does"),
        ({"training": 3}, r"must hold training as dict or nothing, found int"),
    ],
)
def test_content_of_the_wrong_kind(change: dict[str, object], message: str, path: Path) -> None:
    torch.save(torch.load(path, weights_only=True) | change, path)
    assert_one_line(lambda: load_checkpoint(path), message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 8}, r"trial\.pt must fit its own model section, but does not in \d+ weights: "),
        ({"backbone": "resnet99"}, r"describes no network of ours: unknown backbone 'resnet99'"),
        ({"widht": 4}, r"unknown key 'widht'; did you mean 'width'"),
    ],
)
def test_weights_that_do_not_fit(change: dict[str, object], message: str, path: Path) -> None:
    loaded = load_checkpoint(path)
    section = dict(loaded.config["model"]) | change
    wrong = replace(loaded, config={"model": section})
    assert_one_line(lambda: rebuild(wrong), message)


def test_weights_that_are_missing_or_no_tensors(path: Path) -> None:
    loaded = load_checkpoint(path)
    fewer = dict(loaded.weights)
    name = next(iter(fewer))
    fewer.pop(name)
    assert_one_line(
        lambda: rebuild(replace(loaded, weights=fewer)), r"but does not in one weight: "
    )
    text = dict(loaded.weights) | {name: "text"}
    assert_one_line(lambda: rebuild(replace(loaded, weights=text)), rf"{name} should have shape")


def test_a_task_that_does_not_exist(path: Path) -> None:
    wrong = replace(load_checkpoint(path), tasks=(TaskInfo("flying"),))
    assert_one_line(lambda: rebuild(wrong), "describes no network of ours: unknown task 'flying'")
