"""Joining a Ray cluster that others started, once it has answered, and bringing this code to it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

import taskgroup
from taskgroup.cluster.address import find_cluster
from taskgroup.errors import ResourceError
from taskgroup.termination import handle_sigterm

CODE_LIMIT = 50 * 2**20
"""Bytes of a package folder above which something lies in it that is not code."""
NOT_CODE = ("**/__pycache__", "*.pyc", "**/.git", "**/runs", "**/data_cache")


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """The Ray cluster at an address, for the time of a search.

    Args:
        address: ``auto``, ``host:port`` or ``ray://host:port``; None leaves everything as it is.
            A process that has called ``ray.init`` itself keeps its connection.

    Raises:
        ResourceError: The address is wrong, nothing answers there, or this process does not fit
            the cluster.
    """
    if address is not None and not ray.is_initialized():
        address = str(find_cluster(address))
    with joined(address):
        yield


@contextmanager
def joined(address: str | None) -> Iterator[None]:
    """The Ray cluster at an address, as a driver whose code goes to every worker.

    Args:
        address: ``auto``, ``host:port`` or ``ray://host:port`` of a cluster that answers; None
            leaves everything as it is. A process that has called ``ray.init`` itself keeps its
            connection.

    Raises:
        ResourceError: This process does not fit the cluster, or its package holds more than code.
    """
    if address is None or ray.is_initialized():
        yield
        return
    _join(address)
    handle_sigterm()
    try:
        yield
    finally:
        ray.shutdown()


def _join(address: str) -> None:
    code = travelling_code(Path(taskgroup.__file__).parent)
    try:
        ray.init(
            address=address,
            runtime_env=code,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:
        found = " ".join(str(error).split())[:400]
        raise ResourceError(
            f"this process must be able to join the Ray cluster at {address}, but: {found}; "
            "use the cluster's Python and Ray, ray://HOST:10001 from a machine outside it, and "
            "RAY_AUTH_MODE=token with RAY_AUTH_TOKEN_PATH if it asks for a token"
        ) from None


def travelling_code(package: Path) -> dict[str, Any]:
    """The ``runtime_env`` with which every worker imports this very code.

    Args:
        package: Folder of the package; it comes before an installed one on every node.

    Raises:
        ResourceError: The folder is too large to be code alone.
    """
    size = sum(file.stat().st_size for file in package.rglob("*") if file.is_file())
    if size > CODE_LIMIT:
        raise ResourceError(
            f"{package} must be at most {CODE_LIMIT >> 20} MB to travel to the workers, got "
            f"{size >> 20} MB; move data and runs out of the package's folder"
        )
    return {"py_modules": [str(package)], "excludes": list(NOT_CODE)}
