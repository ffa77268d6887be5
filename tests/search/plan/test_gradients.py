"""At its end a search looks whether gradients describe the networks that it names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from taskgroup.data.scenes import SceneConfig
from taskgroup.models.base import BACKBONES, Backbone, ModelConfig
from taskgroup.models.build import build_model
from taskgroup.models.checkpoint import Checkpoint, save_checkpoint
from taskgroup.results.record_files import GRADIENT_CHECKS
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.plan.gradients import check_answer
from taskgroup.study.study import Study
from taskgroup.tasks.base import build_task

SPACE = "main_task: segmentation\nobjectives: [{maximize: segmentation/robust/miou}]\n"
DATASET = {"name": "scenes", "image_size": 32, "train": 1, "validation": 4, "seed": 77}


class Rounding(Backbone):
    """A convolution of rounded images, whose gradient says that nothing was rounded."""

    channels = (4,)
    strides = (1,)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.layer = nn.Conv2d(3, 4, kernel_size=3, padding=1)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        rounded = images + ((2 * images).round() / 2 - images).detach()
        return [self.layer(rounded)]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with BACKBONES.scratch():
        BACKBONES.register("rounding")(Rounding)
        yield


def write_trial(run: RunDirectory, number: int, role: Any, score: float, **model: Any) -> None:
    config = {
        "dataset": DATASET,
        "model": {"decoder_width": 4, **model},
        "main_task": "segmentation",
        "validation": {"attack": "pgd", "norm": "linf", "epsilon": 8 / 255},
    }
    info = SceneConfig(**DATASET).tasks()["segmentation"]  # type: ignore[arg-type]
    network = build_model(ModelConfig(**config["model"]), [build_task(info)], seed=0)  # type: ignore[arg-type]
    path = run.checkpoint_path(number)
    save_checkpoint(Checkpoint(config, (info,), network.state_dict(), 1), path)
    run.write_trial(
        TrialResult(
            number=number,
            label=f"number {number}",
            role=role,
            config=config,
            parameters={},
            main_task="segmentation",
            auxiliary_tasks=(),
            output_dimension=1,
            status="complete",
            epochs=(EpochRow(1, {"segmentation/robust/miou": score}, 1.0, 1),),
            checkpoint=f"checkpoints/{path.name}",
        )
    )


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A fraud that wins, an honest baseline, and a trial that the answer does not name."""
    run = RunDirectory.create(tmp_path / "runs", "small", SPACE)
    write_trial(run, 0, "baseline", 0.1, backbone="resnet_small", width=4)
    write_trial(run, 1, "searched", 0.2, backbone="resnet_small", width=4)
    write_trial(run, 2, "searched", 0.9, backbone="rounding")
    return run


def test_the_winner_and_the_baselines_are_checked(run: RunDirectory) -> None:
    check_answer(run, Study.read(run))
    study = Study.read(run)
    winner, baseline = study.gradient_checks
    assert (winner.trial, winner.is_void, winner.images) == (2, True, 4)
    assert winner.finding.startswith("gradients do not describe the function (share ")
    assert winner.share is not None
    assert winner.share > 0.5
    assert (baseline.trial, baseline.is_void, baseline.finding) == (0, False, "")
    assert study.best is not None
    assert study.is_void(study.best)
    assert study.score_text(study.objectives[0], study.best) == "at most 90.0 %"
    assert study.finding(study.trials[0]) is None


def test_nobody_is_checked_twice(run: RunDirectory) -> None:
    check_answer(run, Study.read(run))
    before = run.storage.names("gradient_checks", ".parquet")
    check_answer(run, Study.read(run))
    assert run.storage.names("gradient_checks", ".parquet") == before
    write_trial(run, 3, "searched", 0.95, backbone="resnet_small", width=4)
    check_answer(run, Study.read(run))
    assert sorted(row.trial for row in GRADIENT_CHECKS.latest(run.storage)) == [0, 2, 3]


def test_what_cannot_be_checked_says_so(run: RunDirectory) -> None:
    Path(str(run.checkpoint_path(2))).unlink()
    check_answer(run, Study.read(run))
    study = Study.read(run)
    assert study.best is not None
    found = study.finding(study.best)
    assert found is not None
    assert found.finding.startswith("gradients not checked: ")
    assert not study.is_void(study.best)


def test_a_study_without_an_answer_has_nothing_to_check(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "small", SPACE)
    check_answer(run, Study.read(run))
    assert Study.read(run).gradient_checks == ()
