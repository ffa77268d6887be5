"""Runs that version 0.1 made: a finished one, one killed in a trial, one in its confirm stage.

``runs.tar.xz`` holds them as 0.1 wrote them, but for what can be made again and takes room (the
report, TensorBoard's files, checkpoints and shards that no test needs). Their spaces lie within.
"""

import tarfile
from pathlib import Path

import pytest

ARCHIVE = Path(__file__).with_name("runs.tar.xz")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with fresh copies of the three runs."""
    folder = tmp_path / "runs"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder
