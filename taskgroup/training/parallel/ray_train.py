"""Ray Train (V2) around a function that several workers run together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.util import placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from taskgroup.training.parallel.group import WorkerGroup, WorkerLost

START_ATTEMPTS = 10
"""Attempts, of a minute each, to find room for all workers; Ray Train itself would try for ever."""
MARK = "memory"
"""The resource of which each worker takes as many bytes as its mark: a placement group of Ray Train
has no name and no maker, and every node has this one."""


class _Trainer(TorchTrainer):
    """Ray Train's trainer without the detached actor that would clean up after it.

    That actor needs the dashboard and a machine with one cluster, and outlives the search where it
    has neither; whoever calls :func:`run_workers` sees to what it would do.
    """

    def _create_default_callbacks(self) -> Any:
        callbacks = super()._create_default_callbacks()  # type: ignore[misc]
        return [c for c in callbacks if type(c).__name__ != "PlacementGroupCleanerCallback"]


def run_workers(
    work: Callable[[WorkerGroup], None],
    *,
    workers: int,
    cpus: int,
    gpus: float,
    name: str,
    mark: int,
    scratch: Path,
) -> None:
    """Call ``work`` in every worker of a group and wait until all have returned.

    The workers are processes of a Ray cluster that runs already, joined by gloo on CPUs and by
    nccl on GPUs. Worker ``r`` gets group rank ``r``.

    Args:
        work: Called with the group; pickled by Ray.
        workers: Number of workers.
        cpus: Cores of one worker, and its torch threads.
        gpus: GPUs of one worker; 0 hides every one. With a part of a GPU gloo joins the workers,
            because nccl refuses two workers on one GPU.
        name: Name of the Train run; a second run of this name would take it for its own restart.
        mark: A positive number that no other group of this job has; :func:`free_workers` takes it.
        scratch: Folder for Ray Train's own files.

    If this process is killed meanwhile, the workers' placement group stays and keeps their cores;
    call :func:`free_workers`.

    Raises:
        WorkerLost: A worker raised or died; the others have been ended.
    """

    def in_worker() -> None:
        torch.set_num_threads(cpus)
        work(WorkerGroup.current())

    trainer = _Trainer(
        in_worker,
        torch_config=TorchConfig(backend="nccl" if gpus >= 1 else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": cpus, MARK: mark, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=RunConfig(  # type: ignore[arg-type]  # the annotation is that of V1
            name=name,
            storage_path=str(scratch),
            failure_config=FailureConfig(controller_failure_limit=START_ATTEMPTS),
            worker_runtime_env={} if gpus else {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}},
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise WorkerLost(f"the workers of {name} ended early: {error}") from error


def free_workers(mark: int) -> None:
    """Remove the placement groups that this job made with ``mark``, and the workers in them."""
    job = ray.get_runtime_context().get_job_id()
    for number, group in placement_group_table().items():
        is_there = number.endswith(job) and group["state"] != "REMOVED"
        if is_there and any(bundle.get(MARK) == mark for bundle in group["bundles"].values()):
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(number))))
