"""Searches on a cluster of several nodes, which are raylets on this machine."""

import gc
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import ray
import ray.cloudpickle
from PIL import Image
from ray.cluster_utils import Cluster

import taskgroup
from taskgroup.cluster.address import find_cluster
from taskgroup.cluster.connection import connected
from taskgroup.cluster.surroundings import Surroundings
from taskgroup.data.loading import open_dataset
from taskgroup.data.readers.cifar import Cifar10Config
from taskgroup.data.readers.image_folder import ImageFolderConfig
from taskgroup.data.scenes.config import SceneConfig
from taskgroup.errors import ResourceError
from taskgroup.models.checkpoint import Checkpoint, save_checkpoint
from taskgroup.results.records import EpochRow
from taskgroup.results.records.plain import to_plain
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.engine.nodes import check_nodes
from taskgroup.search.run import search
from taskgroup.training.state import read_rows

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
ROBUST, CLEAN = "segmentation/robust/miou", "segmentation/clean/miou"
STORE = 100 * 2**20
CLIENT_PORT = 20_000 + os.getpid() % 10_000
"""Above the ports of Ray's workers, below those that the system hands out."""


def train_with_checkpoints(
    config: Any, reporter: Any, *, checkpoint: Path, resume: Path | None = None
) -> None:
    """Pretends to train; notes beside the checkpoint on which node each epoch was begun."""
    reporter.started(7)
    rows = read_rows(resume) if resume else ()
    for epoch in range(len(rows) + 1, config.training.epochs + 1):
        with checkpoint.with_suffix(".nodes").open("a") as file:
            print(ray.get_runtime_context().get_node_id(), epoch, file=file)
        time.sleep(0.4)
        rows = (*rows, EpochRow(epoch, {ROBUST: 0.1 * epoch, CLEAN: 0.5}, 0.01, 1000))
        state = {"optimizer": {}, "weighting": {}, "rows": [to_plain(row) for row in rows]}
        save_checkpoint(Checkpoint({}, (), {}, epoch, state), checkpoint)
        reporter.epoch(rows[-1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without cores for trials but with a client server, and a node with one core."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves sockets to the collector
        head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
        head |= {"ray_client_server_port": CLIENT_PORT}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            cluster.add_node(num_cpus=1, object_store_memory=STORE)
            yield cluster
        finally:
            cluster.shutdown()
            gc.collect()


def train_on_two_nodes(config: Any, reporter: Any, *, checkpoint: Path, **paths: Any) -> None:
    """The same, but nobody goes past a first note before two nodes have made one."""
    with checkpoint.with_suffix(".nodes").open("a") as file:
        print(ray.get_runtime_context().get_node_id(), 0, file=file)
    deadline = time.monotonic() + 120
    while len(nodes_of(checkpoint.parent.parent)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    train_with_checkpoints(config, reporter, checkpoint=checkpoint, **paths)


def nodes_of(run: Path) -> set[str]:
    """Nodes on which an epoch was begun."""
    return {node for epochs in epochs_begun(run).values() for node, _ in epochs}


def epochs_begun(run: Path) -> dict[int, list[tuple[str, int]]]:
    """Node and number of every epoch that was begun, by trial."""
    return {
        int(log.stem): [(line.split()[0], int(line.split()[1])) for line in log.open()]
        for log in sorted((run / "checkpoints").glob("*.nodes"))
    }


@pytest.mark.ray
def test_search_outlives_a_node(cluster: Cluster, values: dict[str, Any], tmp_path: Path) -> None:
    run, lost = tmp_path / "run", cluster.add_node(num_cpus=1, object_store_memory=STORE)

    def lose_node() -> None:
        deadline = time.monotonic() + 200
        while not any((lost.node_id, 2) in found for found in epochs_begun(run).values()):
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
        cluster.remove_node(lost, allow_graceful=False)

    thief = Thread(target=lose_node)
    thief.start()
    result = search(values, run=run, address=cluster.address, train=train_on_two_nodes)
    thief.join()
    assert [trial.status for trial in result.study.trials] == ["complete"] * 8
    begun = epochs_begun(run)
    assert len(nodes_of(run)) == 2
    moved = {number for number, found in begun.items() if len({node for node, _ in found}) == 2}
    assert len(moved) == 1
    for trial in result.study.trials:
        assert trial.attempts == (2 if trial.number in moved else 1)
        assert [row.epoch for row in trial.epochs] == [1, 2, 3, 4]
        numbers = [epoch for _, epoch in begun[trial.number] if epoch]
        assert len(numbers) <= (5 if trial.number in moved else 4), "finished epochs run once"
    assert not list(run.glob(".node-*")), "the check of the nodes leaves nothing"
    assert not ray.is_initialized(), "a search leaves the cluster as it found it"


def place_of_code() -> str:
    """Where a worker imports taskgroup from."""
    return str(taskgroup.__file__)


@pytest.mark.ray
def test_auto_joins_the_cluster_begun_here_and_brings_the_code(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)  # Ray takes the driver's folder first, and this may be a checkout
    assert str(find_cluster("auto")) == cluster.address, "before anything joins another one"
    with connected("auto"):
        assert ray.get_runtime_context().gcs_address == cluster.address
        there = Path(ray.get(ray.remote(place_of_code).remote()))
        assert "runtime_resources" in there.parts, "not what is installed on the node"
        assert there.parent.name == "taskgroup"
        assert there.read_text() == Path(taskgroup.__file__).read_text()
    assert not ray.is_initialized()


@pytest.mark.ray
def test_nodes_must_share_the_run_directory(cluster: Cluster, tmp_path: Path) -> None:
    (mine := RunDirectory.create(tmp_path, "mine", "")).write_report("")
    other = RunDirectory.create(tmp_path, "other", "")
    surroundings, missing = Surroundings.here(), Cifar10Config(root=tmp_path)
    with connected(cluster.address):
        assert check_nodes(mine, str(mine.path), surroundings, [SceneConfig(), missing]) == (
            missing,
        )
        with pytest.raises(
            ResourceError, match=r"must share the run directory, but node .* another"
        ):
            check_nodes(mine, str(other.path), surroundings, [])
        with pytest.raises(ResourceError, match=r"but node .* is not: .*must be a run directory"):
            check_nodes(mine, str(tmp_path / "nowhere"), surroundings, [])


@pytest.mark.ray
def test_nodes_must_run_the_drivers_code(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, package = RunDirectory.create(tmp_path, "run", ""), tmp_path / "taskgroup"
    shutil.copytree(Path(taskgroup.__file__).parent, package)
    with (package / "errors.py").open("a") as file:
        file.write("# an older version\n")
    monkeypatch.chdir(tmp_path)
    message = rf"but node .* has other code in {package}, .* start the search from another folder"
    with connected(cluster.address), pytest.raises(ResourceError, match=message):
        check_nodes(run, str(run.path), Surroundings.here(), [])


def read_pictures(config: Any, reporter: Any, *, checkpoint: Path, resume: Any = None) -> None:
    """Pretends to train; the score is the brightness of what it was given."""
    reporter.started(7)
    batch = open_dataset(config.dataset, "train", ["classification"]).batch([0, 1])
    scores = {"classification/robust/accuracy": batch.images.mean().item()}
    (checkpoint.parent / f"{checkpoint.stem}.data").write_text(os.environ["TASKGROUP_DATA"])
    for epoch in range(1, config.training.epochs + 1):
        reporter.epoch(EpochRow(epoch, scores, 0.01, 1000))


@pytest.mark.ray
def test_node_without_the_data_gets_it_from_the_object_store(
    cluster: Cluster, values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path / "data"))
    for number in range(12):
        folder = tmp_path / "data" / "image_folder" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (20 * number, 0, 0)).save(folder / f"{number}.png")
    bare = cluster.add_node(
        num_cpus=2, object_store_memory=STORE, env_vars={"TASKGROUP_DATA": str(tmp_path / "none")}
    )
    values |= {
        "dataset": {"name": "image_folder"},
        "main_task": "classification",
        "auxiliary_tasks": {"subset": ["edges"]},
        "objectives": [{"maximize": "classification/robust/accuracy"}],
        "resources": {"cpus": 2},  # only the bare node has them
    }
    result = search(values, run=tmp_path / "run", address=cluster.address, train=read_pictures)
    cluster.remove_node(bare)
    assert {trial.status for trial in result.study.trials} == {"complete"}
    notes = (tmp_path / "run" / "checkpoints").glob("*.data")
    assert {note.read_text() for note in notes} == {str(tmp_path / "none")}
    dataset = ImageFolderConfig().open("train", ["classification"])
    brightness = dataset.batch([0, 1]).images.mean().item()
    (score,) = {trial.score("classification/robust/accuracy") for trial in result.study.trials}
    assert score == pytest.approx(brightness)


@pytest.mark.ray
def test_trial_must_fit_one_node(cluster: Cluster, values: dict[str, Any], tmp_path: Path) -> None:
    values["resources"] = {"cpus": 2}
    with pytest.raises(ResourceError, match="resources"):
        search(values, run=tmp_path / "run", address=cluster.address)
    assert not (tmp_path / "run").exists()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_search_from_outside_the_cluster(
    cluster: Cluster, values: dict[str, Any], tmp_path: Path
) -> None:
    address = f"ray://127.0.0.1:{CLIENT_PORT}"
    values["search"] |= {"trials": 4, "scheduler": "asha", "grace_epochs": 1}
    result = search(values, run=tmp_path / "run", address=address, train=train_with_checkpoints)
    assert {trial.status for trial in result.study.trials} <= {"complete", "pruned"}
    assert len(result.study.trials) == 4
    assert not ray.is_initialized()
    with pytest.raises(ResourceError, match="leave ray:// out"):
        search(values, run=tmp_path / "new", address=f"ray://{cluster.address}")
    assert not (tmp_path / "new").exists()
