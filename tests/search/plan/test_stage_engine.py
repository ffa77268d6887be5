"""A search with all stages in Ray; trials only pretend to train."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray.cloudpickle

from taskgroup.cluster.resources import running_ray
from taskgroup.errors import ConfigError
from taskgroup.results.records import EpochRow
from taskgroup.search.answer.json_answer import answer_json
from taskgroup.search.answer.summary import summary
from taskgroup.search.run import confirm, search

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def pretend(config: Any, reporter: Any, *, checkpoint: Any = None, resume: Any = None) -> None:
    """Scores follow from the configuration and the seed."""
    reporter.started(7)
    score = 10 * config.training.learning_rate + config.seed / 1e5
    score += 0.02 * len(config.auxiliary_tasks) * (config.seed % 3)
    for epoch in range(1, config.training.epochs + 1):
        metrics = {"segmentation/robust/miou": score * epoch, "segmentation/clean/miou": score}
        reporter.epoch(EpochRow(epoch, metrics, 0.01, 1000))


@pytest.fixture(scope="module")
def engine() -> Iterator[None]:
    with running_ray(cpus=2, gpus=0):
        yield


@pytest.mark.ray
def test_all_stages_run_and_go_on_by_the_same_command(
    engine: None, values: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    values["search"] = {
        "trials": 6, "sampler": "random",
        "proxy": {"epochs": 2, "top": 2}, "confirm": {"top": 1, "seeds": 2},
    }  # fmt: skip
    run = tmp_path / "run"
    result = search(values, run=run, train=pretend)
    assert not result.is_interrupted
    stages = [trial.stage for trial in result.study.trials]
    assert stages == ["proxy"] * 6 + ["search"] * 5 + ["confirm"] * 10
    assert {trial.status for trial in result.study.trials if trial.stage != "proxy"} == {"complete"}
    assert "[confirm stage 10/10] trial " in capfd.readouterr().err
    assert "Confirm stage: " in summary(result)

    assert search(values, run=run, train=pretend).study.trials == result.study.trials
    assert search(resume=run, train=pretend).study.trials == result.study.trials
    with pytest.raises(ConfigError, match=r"training\.epochs was 4 and is now 5"):
        search(values, run=run, fixes=["training.epochs=5"], train=pretend)

    more = confirm(run, seeds=3, train=pretend)
    assert more.study.trials[: len(result.study.trials)] == result.study.trials
    assert len(more.study.trials) == len(result.study.trials) + 5


@pytest.mark.ray
def test_finished_search_is_confirmed_later(
    engine: None, values: dict[str, Any], tmp_path: Path
) -> None:
    values["search"] = {"trials": 4, "sampler": "random"}
    result = search(values, runs=tmp_path, train=pretend)
    assert answer_json(result)["confirmed"] is False
    confirmed = confirm(result.run.path, train=pretend)
    assert answer_json(confirmed)["confirmed"] is True
    assert confirmed.study.trials[:4] == result.study.trials
    assert "search.confirm.top from not set to 2" in confirmed.run.space_text()
