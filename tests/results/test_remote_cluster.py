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
from taskgroup.training.group import ALONE, WorkerGroup

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
        note = folder / f"{config.adversary.attack}-{group.rank}"
        note.write_text(ray.get_runtime_context().get_node_id())
        fit(config, reporter, group=group, **paths)

    return train


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_trials_workers_may_be_on_two_nodes(
    cluster: Cluster, bucket: str, tmp_path: Path
) -> None:
    place = f"{bucket}/runs/spread"
    fixes = ["search.trials=2", "training.epochs=2", "resources.workers=2", "resources.cpus=1"]
    result = search(
        "smoke", fixes=fixes, run=place, address=cluster.address, train=train_in(tmp_path)
    )
    assert [trial.status for trial in result.trials] == ["complete"] * 2
    notes = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    assert set(notes) == {f"{attack}-{rank}" for attack in ("none", "pgd") for rank in (0, 1)}
    assert all(notes[f"{attack}-0"] != notes[f"{attack}-1"] for attack in ("none", "pgd"))
    run = RunDirectory.open(place)
    assert [len(record.epochs) for record in run.trials()] == [2, 2]
    assert all(run.storage.exists(run.checkpoint_name(n)) for n in (0, 1))
