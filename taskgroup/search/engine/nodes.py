"""Whether every node of a cluster can run trials, asked before the first one does.

Data sets whose files some node lacks travel with the trials.
"""

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import ray
from ray.exceptions import GetTimeoutError, NodeDiedError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import taskgroup
from taskgroup.cluster.surroundings import Surroundings
from taskgroup.data.base import DatasetConfig
from taskgroup.data.readers.reader import DecodedContents, ReaderConfig, adopt, has_adopted
from taskgroup.errors import DataError, ResourceError
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.engine.recording import why_failed

PATIENCE = 120.0
"""Seconds in which every node must have answered; a worker's start and imports are ten of them."""


@dataclass(frozen=True)
class NodeReport:
    """What a node found.

    Attributes:
        token: Name of the file that it wrote into the run directory.
        missing: Data sets whose files are not there.
        package: Folder that it imports taskgroup from.
        code: Digest of the modules there; empty for what travelled, which is the driver's own.
    """

    token: str
    missing: tuple[ReaderConfig, ...]
    package: str
    code: str


def check_nodes(
    run: RunDirectory, folder: str, surroundings: Surroundings, datasets: Sequence[DatasetConfig]
) -> tuple[ReaderConfig, ...]:
    """Check that every other node imports this code and shares the run directory.

    Args:
        run: The run directory, as this process sees it.
        folder: The same, as nodes are told of it.
        surroundings: What trials take along.
        datasets: The data sets of the trials.

    Returns:
        The data sets whose files some node lacks.

    Raises:
        ResourceError: A node that cannot run trials, and why.
    """
    wanted = tuple(datasets)
    asked = [
        (name, _inspect.options(scheduling_strategy=place).remote(folder, surroundings, wanted))
        for name, place in _other_nodes()
    ]
    answers = [(name, _answer(name, reference)) for name, reference in asked]
    reports = [report for _, report in answers if report is not None]
    for name, report in answers:
        if report is not None:
            _check_shared(run, name, report.token)
            _check_code(name, report)
    return tuple({config for report in reports for config in report.missing})


def _other_nodes() -> Sequence[tuple[str, Any]]:
    """Name and place of every living node but this one that has cores for trials."""
    here = ray.get_runtime_context().get_node_id()
    return [
        (
            f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
            NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and node["NodeID"] != here and node["Resources"].get("CPU", 0) >= 1
    ]


@ray.remote(num_cpus=0, max_retries=1)
def _inspect(
    folder: str, surroundings: Surroundings, datasets: Sequence[DatasetConfig]
) -> NodeReport:
    """What a node sees; runs there."""
    surroundings.enter()
    run = RunDirectory.open(folder)
    token = f".node-{secrets.token_hex(8)}"
    run.storage.write(token, b"")
    missing = tuple(config for config in datasets if _lacks_files(config))
    has_travelled = "runtime_resources" in _package().parts
    return NodeReport(token, missing, str(_package()), "" if has_travelled else _code())


def _package() -> Path:
    """The folder that this process imports taskgroup from."""
    return Path(taskgroup.__file__).parent


def _code() -> str:
    """A digest of the modules that this process imports, as they stand on its disk."""
    package, digest = _package(), hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + path.read_bytes())
    return digest.hexdigest()


def _lacks_files(dataset: DatasetConfig) -> TypeGuard[ReaderConfig]:
    """Whether a data set that is read from files has none on this machine."""
    if not isinstance(dataset, ReaderConfig) or has_adopted(dataset):
        return False
    try:
        dataset.folder()
    except DataError:
        return True
    return False


def _answer(name: str, reference: Any) -> NodeReport | None:
    """What a node found; None when it was lost meanwhile, which Ray notices after some seconds."""
    try:
        report: NodeReport = ray.get(reference, timeout=PATIENCE)
    except (TaskUnschedulableError, NodeDiedError):
        return None
    except Exception as error:
        raise ResourceError(
            f"every node must be able to run trials, but node {name} is not: {_why(error)}; "
            "install taskgroup's dependencies there, and give --run a path that all nodes share, "
            "or s3://"
        ) from None
    return report


def _why(error: Exception) -> str:
    """Why a node gave no report."""
    if isinstance(error, GetTimeoutError):
        return f"it gave no answer within {PATIENCE:.0f} s"
    return why_failed(getattr(error, "cause", None) or error)


def _check_shared(run: RunDirectory, name: str, token: str) -> None:
    """What the node wrote must be here: a folder of the same name elsewhere is not enough."""
    if not run.storage.exists(token):
        raise ResourceError(
            f"every node must share the run directory, but node {name} has another folder of the "
            "name; give --run a path on a shared disk, or s3://"
        )
    run.storage.delete(token)


def _check_code(name: str, report: NodeReport) -> None:
    """A folder of the driver's comes first on a node that has one of the same path: Ray's rule."""
    if report.code and report.code != _code():
        raise ResourceError(
            f"every node must run the driver's code, but node {name} has other code in "
            f"{report.package}, which Ray takes because the driver has that folder too; start the "
            "search from another folder, or bring the code there up to date"
        )


@dataclass(frozen=True)
class CarriedDataset:
    """One decoded data set in Ray's object store, where the processes of a node share it.

    Attributes:
        config: Its section of the space.
        reference: Ray's reference to its decoded contents.
    """

    config: ReaderConfig
    reference: Any

    def __call__(self) -> None:
        """Let this process read the data set from the store; done once."""
        if not has_adopted(self.config):
            adopt(self.config, ray.get(self.reference))


def carry(datasets: Iterable[ReaderConfig]) -> tuple[CarriedDataset, ...]:
    """Decode data sets into the object store of the running cluster.

    Raises:
        DataError: One is too large for that.
    """
    return tuple(CarriedDataset(config, ray.put(DecodedContents.of(config))) for config in datasets)
