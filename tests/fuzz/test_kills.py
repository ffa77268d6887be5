"""``evaluate`` killed again and again: it resumes, and finds what it finds undisturbed."""

import random
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import evaluate
from taskgroup.results.run_directory import RunDirectory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
KILLS = 20
IMAGES = 8
ARCHIVE = Path(__file__).parents[1] / "version_0_1" / "runs.tar.xz"


def command(run, seed):
    options = f"--images {IMAGES} --seed {seed} --suite quick".split()
    return [sys.executable, "-m", "taskgroup", "evaluate", "best", "--run", str(run), *options]


def outcome(run):
    """The latest evaluation as text, without the time that it took; a NaN equals none."""
    return [repr(replace(row, seconds=0)) for row in RunDirectory.open(run).evaluations()]


def test_killed_evaluations_find_what_others_find(tmp_path, tally):
    chance = random.Random(0)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    run, undisturbed = tmp_path / "finished", tmp_path / "undisturbed"
    shutil.copytree(run, undisturbed)
    began = time.monotonic()
    subprocess.run(command(run, 1), check=True, capture_output=True)
    seconds = time.monotonic() - began
    seed = 2
    for _ in range(5 * KILLS):
        is_last = tally["killed evaluations", "resumed"] == KILLS
        wait = None if is_last else chance.uniform(seconds / 4, 1.2 * seconds)
        with subprocess.Popen(
            command(run, seed), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                process.wait(wait)
            except subprocess.TimeoutExpired:
                process.kill()
                tally["killed evaluations", "resumed"] += 1
                continue
            assert process.returncode == 0, process.stderr.read()
        options = EvaluationOptions("quick", images=IMAGES, seed=seed)
        evaluate("best", run=undisturbed, options=options)
        assert outcome(run) == outcome(undisturbed)
        seed += 1
        if is_last:
            return
    pytest.fail("the evaluations do not come to their end")
