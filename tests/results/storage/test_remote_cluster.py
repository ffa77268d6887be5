"""A study on a cluster whose run directory is an S3 bucket and whose trials span two nodes."""

import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.cloudpickle
from ray.cluster_utils import Cluster

from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.run import search
from taskgroup.training.fit import fit
from taskgroup.training.parallel.group import ALONE, WorkerGroup

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
STORE = 100 * 2**20


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes with a core each, and a head without; they began before the bucket's settings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves sockets to the collector
        head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1, object_store_memory=STORE)
            yield cluster
        finally:
            cluster.shutdown()
            gc.collect()


def train_in(folder: Path) -> Callable[..., None]:
    """The real training, each worker of which notes its node."""

    def train(config: Any, reporter: Any, *, group: WorkerGroup = ALONE, **paths: Any) -> None:
        (folder / str(group.rank)).write_text(ray.get_runtime_context().get_node_id())
        fit(config, reporter, group=group, **paths)

    return train


@pytest.mark.ray
@pytest.mark.slow  # two minutes, most of them the start of processes
@pytest.mark.timeout(600)
def test_a_trials_workers_may_be_on_two_nodes(
    cluster: Cluster, bucket: str, tmp_path: Path
) -> None:
    place = f"{bucket}/runs/spread"
    fixes = ["adversary.attack=none", "training.epochs=1", "search.trials=1", "resources.workers=2"]
    result = search(
        "smoke", fixes=fixes, run=place, address=cluster.address, train=train_in(tmp_path)
    )
    assert [trial.status for trial in result.study.trials] == ["complete"]
    nodes = [(tmp_path / str(rank)).read_text() for rank in range(2)]
    assert len(set(nodes)) == 2
    run = RunDirectory.open(place)
    assert [len(record.epochs) for record in run.trials()] == [1]
    assert run.storage.exists(run.checkpoint_name(0))
