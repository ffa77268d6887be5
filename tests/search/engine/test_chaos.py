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


@pytest.mark.parametrize(
    ("options", "kills"),
    [
        ("--trials 30 --workers 1 --every 20", 3),
        ("--trials 6 --workers 2 --every 100", 1),  # a start and a trial of two take a minute
        ("--trials 4 --workers 2 --every 60 --kinds worker", 1),
    ],
)
def test_nothing_is_lost_or_run_twice_whatever_is_killed(
    options: str, kills: int, tmp_path: Path
) -> None:
    figure = tmp_path / "chaos.html"
    command = [sys.executable, str(SCRIPT), *options.split(), "--figure", str(figure)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(ended.stdout)
    assert ended.returncode == 0, ended.stderr
    assert found["problems"] == []
    assert sum(found["kills"].values()) >= kills
    assert figure.stat().st_size > 0
