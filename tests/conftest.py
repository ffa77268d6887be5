"""Fixtures for every test: fixed seeds, one thread, and the way to the real data."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """Seed every global generator; our code must not need it, third-party code may."""
    torch.manual_seed(0)
    np.random.seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True, scope="session")
def scene_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep rendered scenes in a folder of this session, not in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKGROUP_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True, scope="session")
def one_way_into_ray() -> Iterator[None]:
    """Start every Ray without tokens: a process keeps the first way that it used.

    ``ray.init`` turns tokens on where nothing is said, a cluster of several raylets does not; the
    one would refuse the other. The main job, run on its own, uses Ray's default.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data packs; the test is skipped where TASKGROUP_DATA is unset."""
    root = os.environ.get("TASKGROUP_DATA")
    if not root:
        pytest.skip("TASKGROUP_DATA is not set")
    return Path(root)
