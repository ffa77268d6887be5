"""A search that is watched: one Ray, with its dashboard, and every logger at once."""

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.cloudpickle
import torch
from ray._private.authentication.http_token_authentication import (
    get_auth_headers_if_auth_enabled,
)

from taskgroup.cluster.dashboard import dashboard_address, metrics_pages
from taskgroup.cluster.resources import running_ray
from taskgroup.results.records import EpochRow
from taskgroup.search.answer.result import SearchResult
from taskgroup.search.run import search
from taskgroup.search.watch.gauges import GAUGES
from taskgroup.training.parallel.group import WorkerGroup

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),  # in MLflow
]
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
ROBUST = "segmentation/robust/miou"
EPOCHS = 25


def fetch(address: str) -> str:
    request = urllib.request.Request(address, headers=get_auth_headers_if_auth_enabled({}))
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.read().decode())


def series(page: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Our gauges on a metrics page: value by the values of their tags."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for line in page.splitlines():
        name, _, rest = line.partition("{")
        short = name.removeprefix("ray_")
        if short in GAUGES:
            tags = dict(part.split("=", 1) for part in rest.partition("}")[0].split(","))
            key = tuple(tags[tag].strip('"') for tag in GAUGES[short][1])
            found.setdefault(short, {})[key] = float(rest.rpartition(" ")[2])
    return found


def wait_for(ask: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 90
    while not (found := ask()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return found


def is_up(address: str) -> bool:
    """Whether the dashboard's part behind an address has started."""
    try:
        return bool(fetch(address))
    except OSError:
        return False


def watch_oneself(config: Any, reporter: Any, *, page: str, **paths: Any) -> None:
    """A training whose epochs last until this process's numbers are seen from outside."""
    reporter.started(7)
    robust = 0.0 if config.adversary.attack == "none" else 0.25
    metrics = {ROBUST: robust, "segmentation/clean/miou": 0.5, "images_per_second": 80.0}
    key, missing = ("watched", str(os.getpid())), {"numbers"}

    def look() -> None:
        published = series(fetch(page))
        if published.get("taskgroup_images_per_second", {}).get(key) == 80.0:
            assert published["taskgroup_epoch"][key] >= 1
            missing.discard("numbers")

    for epoch in range(1, config.training.epochs + 1):
        reporter.epoch(EpochRow(epoch, metrics, 0.01, 1000))
        until = time.monotonic() + 4
        while missing and time.monotonic() < until:
            look()
            time.sleep(0.25)
    assert not missing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_metrics_report_interval_ms", "1000")  # ten seconds otherwise
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        with running_ray(cpus=2, gpus=0, dashboard=True):
            yield


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def result(engine: None, folder: Path, lines: list[str]) -> SearchResult:
    space = {
        "name": "little",
        "dataset": {"name": "scenes", "image_size": 32, "train": 64, "validation": 16, "test": 16},
        "main_task": "segmentation",
        "auxiliary_tasks": {"subset": ["depth"]},
        "adversary": {"attack": "pgd", "epsilon": "4/255"},
        "training": {"epochs": EPOCHS},
        "objectives": [{"maximize": ROBUST}],
        "search": {
            "trials": 3,
            "sampler": "random",
            "loggers": ["tensorboard", "mlflow", "wandb"],
        },
    }
    wait_for(lambda: is_up(f"http://{dashboard_address()}/logical/actors"))
    train = partial(watch_oneself, page=metrics_pages()[0])
    return search(space, run=folder / "watched", train=train, dashboard=lines.append)


def test_trials_see_their_numbers_from_outside(result: SearchResult) -> None:
    assert [(trial.status, trial.reason) for trial in result.study.trials] == [
        ("complete", None)
    ] * 3


def test_addresses_are_printed_and_on_loopback(result: SearchResult, lines: list[str]) -> None:
    assert [line.split(" (")[0] for line in lines] == [
        f"Dashboard: http://{dashboard_address()}",
        f"Metrics:   {metrics_pages()[0]}",
    ]
    assert all("http://127.0.0.1:" in line for line in lines)
    assert "<html" in fetch(f"http://{dashboard_address()}/")


def test_study_gauges_carry_the_values_of_the_search(result: SearchResult) -> None:
    finished = ("watched", "search", "complete")

    def told() -> Any:
        page = series(fetch(metrics_pages()[0]))
        ended = page.get("taskgroup_trials_finished", {}).get(finished)
        return page if ended == 3 and "taskgroup_best_robust_score" in page else None

    # Searches that ran earlier in this process may stay on the page, each under its own run.
    best = wait_for(told)["taskgroup_best_robust_score"]
    of_this_run = {tags: value for tags, value in best.items() if tags[0] == "watched"}
    assert of_this_run == {("watched", "search", ROBUST): 0.25}


def test_mlflow_has_a_run_for_every_trial(result: SearchResult, folder: Path) -> None:
    import mlflow  # takes seconds

    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("little")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    run = runs["trial 2 · segmentation+depth · ε 4/255"]
    assert len(runs) == 3
    assert run.data.metrics[ROBUST] == 0.25
    assert run.data.params["task set"] == "segmentation+depth"
    assert "record" not in run.data.params
    history = client.get_metric_history(run.info.run_id, ROBUST)
    assert sorted(point.step for point in history) == list(range(1, EPOCHS + 1))


def test_wandb_has_a_run_for_every_trial(result: SearchResult) -> None:
    found = list(result.run.path.glob("wandb/offline-run-*/*.wandb"))
    assert len(found) == 3
    content = b"".join(path.read_bytes() for path in found)
    assert "trial 2 · segmentation+depth · ε 4/255".encode() in content
    assert ROBUST.encode() in content


def test_event_files_lie_in_the_run_directory(result: SearchResult) -> None:
    assert len(list(result.run.path.glob("tensorboard/*/events.out.tfevents.*"))) == 3


def train_once(config: Any, reporter: Any, *, group: WorkerGroup, **_: Any) -> None:
    """A training with several workers that is over at once."""
    group.sum(torch.zeros(1))  # waits for the others
    if group.is_first:
        reporter.started(7)
        for epoch in range(1, config.training.epochs + 1):
            reporter.epoch(EpochRow(epoch, {ROBUST: 0.0}, 0.01, 1000))


def train_runs() -> list[str]:
    """Names of the Train runs that the dashboard lists; what answers starts when it is asked."""
    with suppress(OSError):
        found = json.loads(fetch(f"http://{dashboard_address()}/api/train/v2/runs/v1"))
        return [run["name"] for run in found["train_runs"]]
    return []


def test_a_train_run_bears_the_trials_number(
    engine: None, values: dict[str, Any], folder: Path
) -> None:
    values |= {"search": {"trials": 1, "sampler": "random"}, "resources": {"workers": 2}}
    result = search(values, run=folder / "two", train=train_once)
    assert [(trial.status, trial.reason) for trial in result.study.trials] == [("complete", None)]
    assert [name[:12] for name in wait_for(train_runs)] == ["trial-00000-"]
