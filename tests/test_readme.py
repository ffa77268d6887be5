"""The README's commands are true: they run, on the smoke space, in the order they stand there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def bash_lines() -> list[str]:
    """Lines of every ``bash`` block of the README."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def test_set_up_commands_make_or_reuse_the_environment():
    set_up = [line for line in bash_lines() if "pip install" in line]
    assert len(set_up) == 2
    assert all(line.startswith("python3 -m venv .venv && ") for line in set_up)


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_taskgroup_commands_run_on_the_smoke_space(tmp_path):
    commands = [line for line in bash_lines() if line.startswith("taskgroup ")]
    assert any("search" in line for line in commands)
    for line in commands:
        arguments = shlex.split(line.replace("quickstart", "smoke"))[1:]
        done = subprocess.run(
            [sys.executable, "-m", "taskgroup", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert list(tmp_path.glob("runs/*/report.html"))
