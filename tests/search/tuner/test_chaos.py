"""A study whose processes are killed again and again, as ``benchmarks/chaos.py`` does it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "chaos.py"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not SCRIPT.exists(), reason="the benchmarks are not in the wheel"),
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc"),
]


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_lost_or_run_twice_whatever_is_killed(workers: int, tmp_path: Path) -> None:
    figure = tmp_path / "chaos.html"
    command = [sys.executable, str(SCRIPT), "--trials", "30"]
    command += ["--workers", str(workers), "--every", str(20 * workers), "--figure", str(figure)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(ended.stdout)
    assert ended.returncode == 0, ended.stderr
    assert found["problems"] == []
    assert sum(found["kills"].values()) >= 3
    assert figure.stat().st_size > 0
