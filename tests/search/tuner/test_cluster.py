"""Searches on a cluster of several nodes, which are raylets on this machine."""

import gc
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.cloudpickle
from ray.cluster_utils import Cluster

from taskgroup.errors import ResourceError
from taskgroup.results.records import EpochRow
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.run import search
from taskgroup.search.tuner.connection import connected
from taskgroup.search.tuner.home import Home
from taskgroup.search.tuner.nodes import check_nodes

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
ROBUST, CLEAN = "segmentation/robust/miou", "segmentation/clean/miou"
STORE = 100 * 2**20


def node_id() -> str:
    return str(ray.get_runtime_context().get_node_id())


def report_where(config: Any, reporter: Any, *, checkpoint: Path, resume: Any = None) -> None:
    """Pretends to train; notes beside the checkpoint on which node each epoch ran."""
    reporter.started(7)
    log = checkpoint.with_suffix(".nodes")
    for epoch in range(1, config.training.epochs + 1):
        time.sleep(0.3)
        with log.open("a") as file:
            print(node_id(), epoch, file=file)
        reporter.epoch(EpochRow(epoch, {ROBUST: 0.1 * epoch, CLEAN: 0.5}, 0.01, 1000))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without cores for trials, and two nodes with one each."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves sockets to the collector
        patch.setenv("RAY_AUTH_MODE", "disabled")
        head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1, object_store_memory=STORE)
            yield cluster
        finally:
            cluster.shutdown()
            gc.collect()


def nodes_of(run: RunDirectory) -> dict[int, list[str]]:
    """Node of every epoch that was begun, by trial."""
    logs = sorted((run.path / "checkpoints").glob("*.nodes"))
    return {int(log.stem): [line.split()[0] for line in log.open()] for log in logs}


@pytest.mark.ray
def test_trials_run_on_every_node_with_our_code(
    cluster: Cluster, values: dict[str, Any], tmp_path: Path
) -> None:
    result = search(values, runs=tmp_path, address=cluster.address, train=report_where)
    assert {trial.status for trial in result.trials} == {"complete"}
    assert len(result.trials) == 8
    assert len({node for nodes in nodes_of(result.run).values() for node in nodes}) == 2
    assert not list(result.run.path.glob(".node-*")), "the check of the nodes leaves nothing"
    assert not ray.is_initialized(), "a search leaves the cluster as it found it"
