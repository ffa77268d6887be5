"""Small runs to evaluate: their trials, their checkpoints and what is written beside them."""

from dataclasses import replace

import pytest

from taskgroup.data.scenes import SceneConfig
from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.models.checkpoint import Checkpoint, save_checkpoint
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.tasks.base import build_task

SPACE = "main_task: segmentation\nobjectives: [{maximize: segmentation/robust/miou}]\n"
DATASET = {"name": "scenes", "image_size": 32, "test": 3, "train": 1, "seed": 77}
CONFIG = {
    "dataset": DATASET,
    "model": {"backbone": "resnet_small", "width": 4, "decoder_width": 4},
    "main_task": "segmentation",
    "validation": {"attack": "pgd", "norm": "linf", "epsilon": 4 / 255},
}
TRIALS = [  # label, role, auxiliary tasks, status, robust score
    ("main only, natural", "baseline", (), "complete", 0.1),
    ("all, adversarial", "baseline", ("depth",), "failed", None),
    ("segmentation+classification", "searched", ("classification",), "complete", 0.3),
    ("segmentation+depth", "searched", ("depth",), "pruned", 0.4),
]


def save_network(path, auxiliary=(), config=CONFIG, *, seed=0, spoil=False, **changes):
    infos = SceneConfig(**DATASET).tasks()
    chosen = tuple(infos[name] for name in ("segmentation", *auxiliary))
    model = build_model(
        ModelConfig(**config["model"]), [build_task(info) for info in chosen], seed=seed
    )
    if spoil:
        for parameter in model.parameters():
            parameter.data.fill_(3e38)
    checkpoint = Checkpoint(config=config, tasks=chosen, weights=model.state_dict(), epoch=1)
    save_checkpoint(replace(checkpoint, **changes), path)


def save_trial(run, number, label, role, auxiliary, status, score):
    path = run.checkpoint_path(number)
    epochs = ()
    if score is not None:
        save_network(path, auxiliary)
        epochs = (EpochRow(1, {"segmentation/robust/miou": score}, 1.0, 1),)
    run.write_trial(
        TrialResult(
            number=number,
            label=label,
            role=role,
            config=CONFIG,
            parameters={},
            main_task="segmentation",
            auxiliary_tasks=auxiliary,
            output_dimension=1,
            status=status,
            epochs=epochs,
            checkpoint=None if score is None else f"checkpoints/{path.name}",
        )
    )


@pytest.fixture(scope="session")
def space():
    """The text of the space of the run."""
    return SPACE


@pytest.fixture(scope="session")
def scenes():
    """The data set of the trials."""
    return SceneConfig(**DATASET)


@pytest.fixture(scope="session")
def config():
    """The configuration of the trials."""
    return CONFIG


@pytest.fixture(scope="session")
def write_checkpoint():
    """``write_checkpoint(path, auxiliary, config, seed=, spoil=)`` saves an untrained network."""
    return save_network


@pytest.fixture(scope="session")
def write_trial():
    """``write_trial(run, number, label, role, auxiliary, status, score)`` writes its record."""
    return save_trial


@pytest.fixture(scope="session")
def read_shards():
    """``read_shards(run)`` names the shards of a run."""
    return lambda run: set(run.storage.names("shards", ".parquet"))


@pytest.fixture(scope="session")
def scene_cache(tmp_path_factory):
    """One cache of rendered scenes for all tests below."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def use_cache(scene_cache, monkeypatch):
    monkeypatch.setenv("TASKGROUP_CACHE", str(scene_cache))


@pytest.fixture
def run(tmp_path):
    """Four trials, two of them complete."""
    run = RunDirectory.create(tmp_path / "runs", "small", SPACE)
    for number, trial in enumerate(TRIALS):
        save_trial(run, number, *trial)
    return run
