"""Damaged checkpoints: read as they were, or refused by one line."""

import random

import pytest
import torch

from taskgroup.data.scenes import SceneConfig
from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from taskgroup.tasks.base import build_task

pytestmark = pytest.mark.slow
FAULTS = 1000
MODEL = {"backbone": "resnet_small", "width": 4, "decoder_width": 4}


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """A checkpoint with its optimiser, as a trial writes it, and the file's content."""
    info = SceneConfig(image_size=32).tasks()["segmentation"]
    model = build_model(ModelConfig(**MODEL), [build_task(info)], seed=0)
    optimiser = torch.optim.AdamW(model.parameters())
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimiser.step()
    path = tmp_path_factory.mktemp("intact") / "00000.pt"
    checkpoint = Checkpoint(
        config={"model": MODEL, "main_task": "segmentation"},
        tasks=(info,),
        weights=model.state_dict(),
        epoch=1,
        training={"optimiser": optimiser.state_dict()},
    )
    save_checkpoint(checkpoint, path)
    return load_checkpoint(path), path.read_bytes()


def same(one, two):
    weights = one.weights.keys() == two.weights.keys() and all(
        torch.equal(one.weights[name], two.weights[name]) for name in one.weights
    )
    plain = (one.config, one.tasks, one.epoch) == (two.config, two.tasks, two.epoch)
    return weights and plain and repr(one.training) == repr(two.training)


def test_a_damaged_checkpoint_is_never_read_as_another(
    intact, spoiled, read_or_refused, tally, tmp_path
):
    before, content = intact
    chance = random.Random(0)
    path = tmp_path / "00000.pt"
    for _ in range(FAULTS):
        path.write_bytes(spoiled(content, chance))
        after = read_or_refused(lambda: load_checkpoint(path), path)
        tally["damaged checkpoints", "refused" if after is None else "read as they were"] += 1
        assert after is None or same(before, after)
