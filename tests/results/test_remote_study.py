"""A study whose run directory is an S3 bucket, ended by SIGKILL and resumed."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgroup.results.run_directory import RunDirectory

SCRIPT = """
import sys, time
from taskgroup.results.records import EpochRow
from taskgroup.results.storage.single_files import write_place
from taskgroup.search.run import search

def train(config, reporter, *, checkpoint=None, resume=None):
    reporter.started(7)
    for epoch in range(1, config.training.epochs + 1):
        time.sleep(0.2)
        write_place(checkpoint, b"pretended %d" % epoch)
        scores = {"segmentation/robust/miou": epoch % 3, "segmentation/clean/miou": 0.5}
        reporter.epoch(EpochRow(epoch, scores, 0.2, 1000))

search("smoke", fixes=["search.trials=5", "training.epochs=3"], run=sys.argv[1], train=train)
"""


@pytest.mark.ray
def test_a_killed_study_in_a_bucket_goes_on(bucket: str, tmp_path: Path) -> None:
    script, place = tmp_path / "driver.py", f"{bucket}/runs/killed"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), place]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as driver:
        done = {record.number: record for record in _first_finished(place, driver)}
        driver.send_signal(signal.SIGKILL)
    assert done
    assert subprocess.run(command, stderr=subprocess.PIPE, check=False).returncode == 0
    run = RunDirectory.open(place)
    after = {record.number: record for record in run.trials()}
    assert {n: after[n] for n in done} == done
    assert all(record.status in ("complete", "pruned") for record in after.values())
    assert run.storage.exists("study.journal")
    complete = [record for record in after.values() if record.status == "complete"]
    assert complete
    for record in complete:
        assert run.storage.read(run.checkpoint_name(record.number)) == b"pretended 3"
        assert run.storage.read(run.checkpoint_name(record.number, "best")) == b"pretended 2"


def _first_finished(place: str, driver: "subprocess.Popen[bytes]") -> Iterator[object]:
    """What has finished at the moment that something has."""
    for _ in range(1200):
        assert driver.poll() is None
        try:
            found = [r for r in RunDirectory.open(place).trials() if r.status == "complete"]
        except Exception:
            found = []
        if found:
            yield from found
            return
        time.sleep(0.1)
