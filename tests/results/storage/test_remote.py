"""A run directory in an object store means the same as a local one."""

import json
import subprocess
import sys
import time
import urllib.request
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from taskgroup.cli import app
from taskgroup.errors import ConfigError, DataError, ResourceError
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.results.runs import list_runs, newest
from taskgroup.results.storage import lease
from taskgroup.results.storage.base import open_storage
from taskgroup.results.storage.single_files import read_place, write_place
from taskgroup.search.loading import load_run

SPACE = "main_task: segmentation\nobjectives: [{maximize: segmentation/robust/miou}]\n"
TRIAL = TrialResult(7, "x", "baseline", {}, {}, "depth", (), 1, "failed", "loss became NaN")


def test_what_goes_in_comes_out(bucket: str) -> None:
    run = RunDirectory.create(f"{bucket}/runs", "small", SPACE)
    stored = [
        replace(TRIAL, number=n, epochs=(EpochRow(1, {"a/b/c": n}, 1, 1),)) for n in range(40)
    ]
    for record in reversed(stored):
        run.write_trial(record)
    again = RunDirectory.open(run.uri)
    assert again.space_text() == SPACE
    assert again.trials() == stored
    assert load_run(run.uri).trials == tuple(stored)
    assert run.uri == run.place == f"{bucket}/runs/small-1"
    assert run.write_report("<p>") == f"{run.uri}/report.html"
    assert read_place(run.report_path) == b"<p>"


def test_runs_are_numbered_and_listed(bucket: str) -> None:
    made = [RunDirectory.create(f"{bucket}/runs", "small", SPACE) for _ in range(3)]
    assert [run.name for run in made] == ["small-1", "small-2", "small-3"]
    assert {run.place for run in list_runs(f"{bucket}/runs")} == {run.place for run in made}
    assert newest(f"{bucket}/runs").place in {run.place for run in made}
    assert list_runs(f"{bucket}/nothing") == []
    with pytest.raises(ConfigError, match=r"must not exist or be empty.*--resume"):
        RunDirectory.create_at(made[0].place, SPACE)


def test_the_best_checkpoint_is_kept_beside_the_newest(bucket: str) -> None:
    run = RunDirectory.create(bucket, "small", SPACE)
    write_place(run.checkpoint_path(3), b"first")
    run.keep_best(3)
    write_place(run.checkpoint_path(3), b"second")
    assert run.storage.read(run.checkpoint_name(3, "best")) == b"first"
    assert run.storage.read(run.checkpoint_name(3)) == b"second"


def test_the_journal_is_copied_when_the_search_ends(bucket: str) -> None:
    run = RunDirectory.create(bucket, "small", SPACE)
    with run.lock():
        journal = run.journal_path
        journal.write_bytes(b"line\n")
    assert not journal.exists()
    assert run.storage.read("study.journal") == b"line\n"


def test_a_second_search_is_refused_with_the_holder(bucket: str) -> None:
    run = RunDirectory.create(bucket, "small", SPACE)
    with (
        run.lock(),
        pytest.raises(ConfigError, match=r"process \d+ on .* is using it"),
        RunDirectory.open(run.uri).lock(),
    ):
        pass
    with run.lock():
        pass


def test_the_lease_of_a_dead_process_is_taken_over_at_once(bucket: str) -> None:
    run = RunDirectory.create(bucket, "small", SPACE)
    code = (
        "import sys; from taskgroup.results.run_directory import RunDirectory\n"
        "with RunDirectory.open(sys.argv[1]).lock():\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, run.uri]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=f"process {holder.pid} on"), run.lock():
            pass
        holder.kill()
        holder.wait()
    with run.lock():
        pass


@pytest.mark.parametrize("is_fresh", [True, False])
def test_the_lease_of_another_machine_expires(
    bucket: str, is_fresh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory.create(bucket, "small", SPACE)
    other = lease.Owner("elsewhere", "another boot", 1, "5")
    run.storage.write(f"{lease.FOLDER}/x.json", json.dumps(asdict(other)).encode())
    if is_fresh:
        monkeypatch.setattr(lease, "_TRIES", 1)
        with pytest.raises(ConfigError, match=r"process 1 on elsewhere.*120 s"), run.lock():
            pass
    else:
        monkeypatch.setattr(lease, "EXPIRY_SECONDS", -1.0)
        with run.lock():
            pass


def test_a_missing_bucket_is_named(bucket: str) -> None:
    message = r"there is no such bucket; create it, or check its name and region$"
    with pytest.raises(ResourceError, match=message):
        RunDirectory.create(f"{bucket}-none/runs", "small", SPACE)
    with pytest.raises(DataError, match=message):
        list_runs(f"{bucket}-none/runs")
    with pytest.raises(DataError, match=r"must be a run directory"):
        RunDirectory.open(f"{bucket}-none/runs/small-1")


def test_missing_credentials_are_named(
    bucket: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory.create(bucket, "small", SPACE)

    def checked_after(count: str) -> None:
        url, kind = f"{s3_endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        request = urllib.request.Request(url, count.encode(), kind, method="POST")
        urllib.request.urlopen(request).close()

    checked_after("0")
    try:
        begin = time.monotonic()
        with pytest.raises(DataError, match="access is denied; give credentials") as caught:
            RunDirectory.open(run.uri)
        with pytest.raises(ResourceError, match="the access key is unknown there"):
            run.write_trial(TRIAL)
        assert time.monotonic() - begin < 20
        assert "\n" not in str(caught.value)
    finally:
        checked_after("inf")


def test_an_endpoint_that_does_not_answer_is_named() -> None:
    place = "s3://bucket/run?endpoint_override=127.0.0.1:1&scheme=http&region=us-east-1"
    begin = time.monotonic()
    with pytest.raises(DataError, match="nothing answers there; check the network"):
        RunDirectory.open(place)
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    "command", ["search --resume", "search --space smoke --run", "report --run", "runs list --runs"]
)
def test_missing_google_credentials_are_one_line_within_seconds(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where gcloud keeps its own
    monkeypatch.setenv("GCE_METADATA_ROOT", "127.0.0.1:1")  # where a machine of theirs asks
    import_module("taskgroup.search.run")  # which is not what is timed
    place, begin = "gs://bucket/run?retry_limit_seconds=0.5", time.monotonic()
    result = CliRunner().invoke(app, [*command.split(), place])
    assert time.monotonic() - begin < 20
    assert result.exit_code == 2
    assert "there are no credentials; set GOOGLE_APPLICATION_CREDENTIALS, or run" in result.stderr
    assert result.stderr.count("\n") == 1


def test_addresses_of_other_stores_are_understood(tmp_path: Path) -> None:
    assert open_storage("gs://bucket/run").root == "bucket/run"
    run = RunDirectory.create(f"file://{tmp_path}", "small", SPACE)
    assert run.path == tmp_path / "small-1"
    assert RunDirectory.open(tmp_path / "small-1").space_text() == SPACE
