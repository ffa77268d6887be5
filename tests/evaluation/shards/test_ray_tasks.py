"""Shards on a Ray cluster: the driver's code and settings reach the workers, whose death is mended.

A worker tells about itself when it opens its plan: it writes a line beside the checkpoint.
"""

import gc
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.cloudpickle
import torch
from PIL import Image
from ray.cluster_utils import Cluster

import taskgroup
from taskgroup.attacks.base import AttackBudget
from taskgroup.cluster.surroundings import SETTINGS
from taskgroup.data.readers.image_folder import ImageFolderConfig
from taskgroup.errors import ResourceError
from taskgroup.evaluation.loading import NetworkSources, load_networks
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.shards.execute import run_here
from taskgroup.evaluation.shards.ray_tasks import run_with_ray
from taskgroup.evaluation.shards.shard import Shard, ShardResult
from taskgroup.evaluation.suites.conditions import Condition
from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.models.checkpoint import Checkpoint, save_checkpoint
from taskgroup.tasks.base import build_task

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
STORE = 100 * 2**20
BUDGET = AttackBudget(epsilon=8 / 255, steps=2)
PGD = Condition("pgd", NetworkAttack("pgd", BUDGET, ("classification",)))
SHARDS = (Shard(0, PGD, 0, 2), Shard(0, PGD, 2, 4))


class Deadly(tuple[str, ...]):
    """Checkpoints whose readers note who they are and what they were told; the first one dies."""

    def __iter__(self) -> Iterator[str]:
        log = Path(self[0]).with_suffix(".log")
        is_first = not log.exists()
        seen = (os.getpid(), taskgroup.__file__, os.environ.get("AWS_REGION"), Path.cwd())
        with log.open("a") as file:
            print(*seen, file=file)
        if is_first:
            os.kill(os.getpid(), signal.SIGKILL)  # as the system does when memory runs out
        return super().__iter__()


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def cluster(patch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without a core, started before this process had anything to tell."""
    for name in SETTINGS:
        patch.delenv(name, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves sockets to the collector
        head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield cluster
        finally:
            cluster.shutdown()
            gc.collect()


def write_network(folder: Path) -> str:
    """A checkpoint for pictures that only ``TASKGROUP_DATA`` leads to."""
    for number in range(40):
        pictures = folder / "data" / "image_folder" / "ab"[number % 2]
        pictures.mkdir(parents=True, exist_ok=True)
        colour = (6 * number, 0, 255 - 6 * number)
        Image.new("RGB", (16, 16), colour).save(pictures / f"{number}.png")
    config: dict[str, Any] = {
        "dataset": {"name": "image_folder"},
        "model": {"backbone": "resnet_small", "width": 4, "decoder_width": 4},
        "main_task": "classification",
        "validation": {"norm": "linf", "epsilon": 4 / 255},
    }
    info = ImageFolderConfig().tasks()["classification"]
    model = build_model(ModelConfig(**config["model"]), [build_task(info)], seed=0)
    save_checkpoint(Checkpoint(config, (info,), model.state_dict(), 1), folder / "network.pt")
    return "network.pt"


@pytest.fixture(scope="module")
def finished(
    cluster: Cluster, patch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[tuple[Shard, ShardResult]]]:
    """A checkpoint and what the cluster found about it, after its first worker died."""
    folder = tmp_path_factory.mktemp("network")
    patch.setenv("TASKGROUP_DATA", str(folder / "data"))
    patch.setenv("AWS_REGION", "nowhere-1")
    patch.chdir(folder)  # else Ray takes this process's folder first, perhaps a checkout
    checkpoint = write_network(folder)
    plan = NetworkSources(Deadly((checkpoint,)))
    cluster.add_node(num_cpus=1, object_store_memory=STORE)
    found = list(run_with_ray(plan, SHARDS, workers=1, address=cluster.address))
    assert not ray.is_initialized(), "the cluster is left as it was found"
    return checkpoint, found


def told(checkpoint: str) -> list[list[str]]:
    return [line.split() for line in Path(checkpoint).with_suffix(".log").read_text().splitlines()]


@pytest.mark.ray
def test_a_cluster_without_a_core_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ResourceError, match="needs a CPU core of the cluster, but its nodes offer"):
        next(run_with_ray(NetworkSources(()), SHARDS, workers=1, address=cluster.address))


@pytest.mark.ray
def test_a_shard_whose_worker_dies_is_begun_again(
    finished: tuple[str, list[tuple[Shard, ShardResult]]],
) -> None:
    checkpoint, found = finished
    dead, alive = (int(number) for number, *_ in told(checkpoint))  # a worker keeps its loaded
    assert len({dead, alive, os.getpid()}) == 3
    assert sorted(shard.first for shard, _ in found) == [0, 2]
    here = dict(run_here(load_networks(NetworkSources((checkpoint,))), SHARDS))
    for shard, result in found:
        for one, two in zip(result.parts, here[shard].parts, strict=True):
            assert torch.equal(one.sums["classification"], two.sums["classification"])


@pytest.mark.ray
def test_workers_of_a_cluster_get_code_and_settings(
    finished: tuple[str, list[tuple[Shard, ShardResult]]],
) -> None:
    for _, code, region, folder in told(finished[0]):
        assert "runtime_resources" in Path(code).parts, "not what is installed on the node"
        assert Path(code).read_text() == Path(taskgroup.__file__).read_text()
        assert (region, folder) == ("nowhere-1", str(Path.cwd()))
