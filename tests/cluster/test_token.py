"""A cluster of ours needs no home folder that can be written."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import ray
from taskgroup.cluster.resources import ray_on_this_machine

for _ in range(2):
    with ray_on_this_machine(cpus=1, gpus=0):
        print(ray.get(ray.remote(lambda: 7).remote()))
"""


@pytest.mark.ray
def test_ray_works_without_a_home_that_can_be_written() -> None:
    """Ray writes a token there by default; the second cluster of a process needs the same one."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**environment, "HOME": "/proc/nope"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stdout.split() == ["7", "7"], done.stderr
