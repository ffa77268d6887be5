"""The files in deploy/, each checked by a parser or a dry run; nothing is started."""

import os
import re
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskgroup.search.space.find import find_space

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return found


def check_command(command: str) -> None:
    """A search that the command line understands, on the cluster that it runs in."""
    from typer.testing import CliRunner

    from taskgroup.cli import app

    words = shlex.split(command)
    assert words[:2] == ["taskgroup", "search"]
    options = {word for word in words if word.startswith("--")}
    help_text = CliRunner().invoke(app, ["search", "--help"], env={"COLUMNS": "200"}).stdout
    assert options <= set(re.findall(r"--[a-z-]+", help_text))
    assert words[words.index("--address") + 1] == "auto"
    find_space(words[words.index("--space") + 1])


def test_cluster_launcher_accepts_the_cluster() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster = prepare_config(load("ray_cluster.yaml"))
    validate_config(cluster)  # Ray's own schema
    types = cluster["available_node_types"]
    assert types[cluster["head_node_type"]]["resources"]["CPU"] == 0, "no trial on the head"
    assert all(kind["max_workers"] <= cluster["max_workers"] for kind in types.values())
    text = (DEPLOY / "ray_cluster.yaml").read_text()
    (command,) = re.findall(r"'(taskgroup search .*)'", text)
    check_command(command)


def test_versions_agree() -> None:
    import ray

    job = load("ray_job.yaml")["spec"]["rayClusterSpec"]
    docker = (DEPLOY / "Dockerfile").read_text()
    assert job["rayVersion"] == ray.__version__
    assert f"rayproject/ray:{ray.__version__}-py311" in docker
    launcher = load("ray_cluster.yaml")["docker"]["image"]
    groups = [job["headGroupSpec"], *job["workerGroupSpecs"]]
    images = {c["image"] for group in groups for c in group["template"]["spec"]["containers"]}
    assert images == {launcher}


Shape = Mapping[str, Any]
"""Allowed keys of a mapping; ``!`` marks required ones, a value is a type, a shape or [shape]."""

CONTAINER: Shape = {
    "name!": str,
    "image!": str,
    "command": list,
    "args": list,
    "env": [{"name!": str, "value": str, "valueFrom": dict}],
    "ports": [{"containerPort!": int, "name": str, "protocol": str}],
    "resources!": {"requests": dict, "limits!": dict},
    "volumeMounts": [{"name!": str, "mountPath!": str, "readOnly": bool, "subPath": str}],
}
POD: Shape = {
    "metadata": dict,
    "spec!": {
        "containers!": [CONTAINER],
        "volumes": [{"name!": str, "persistentVolumeClaim": {"claimName!": str}}],
        "restartPolicy": str,
        "nodeSelector": dict,
        "tolerations": list,
        "serviceAccountName": str,
    },
}
RAY_JOB: Shape = {
    "apiVersion!": str,
    "kind!": str,
    "metadata!": {"name!": str, "namespace": str, "labels": dict, "annotations": dict},
    "spec!": {
        "entrypoint!": str,
        "entrypointNumCpus": (int, float),
        "entrypointNumGpus": (int, float),
        "entrypointResources": str,
        "submissionMode": str,
        "backoffLimit": int,
        "activeDeadlineSeconds": int,
        "shutdownAfterJobFinishes": bool,
        "ttlSecondsAfterFinished": int,
        "runtimeEnvYAML": str,
        "suspend": bool,
        "rayClusterSpec!": {
            "rayVersion!": str,
            "authOptions": {"mode!": str},
            "enableInTreeAutoscaling": bool,
            "autoscalerOptions": dict,
            "headGroupSpec!": {
                "rayStartParams!": dict,
                "serviceType": str,
                "template!": POD,
            },
            "workerGroupSpecs!": [
                {
                    "groupName!": str,
                    "replicas": int,
                    "minReplicas!": int,
                    "maxReplicas!": int,
                    "numOfHosts": int,
                    "rayStartParams!": dict,
                    "template!": POD,
                }
            ],
        },
    },
}
"""The part of KubeRay's API reference (ray.io/v1) that a search needs, with nothing left open."""


def faults(value: Any, shape: Any, at: str = "") -> list[str]:
    """What of a document does not fit a shape, one line each."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{at} must be a list"]
        return [f for n, item in enumerate(value) for f in faults(item, shape[0], f"{at}[{n}]")]
    if not isinstance(shape, Mapping):
        wrong = not isinstance(value, shape) or (isinstance(value, bool) and shape is not bool)
        return [f"{at} must be {shape}"] if wrong else []
    if not isinstance(value, Mapping):
        return [f"{at} must be a mapping"]
    known = {key.rstrip("!"): inner for key, inner in shape.items()}
    required = {key.rstrip("!") for key in shape if key.endswith("!")}
    return [
        *(f"{at}.{key} is missing" for key in sorted(required - set(value))),
        *(f"{at}.{key} is unknown" for key in sorted(set(value) - set(known))),
        *(
            f
            for key in value
            if key in known
            for f in faults(value[key], known[key], f"{at}.{key}")
        ),
    ]


def test_ray_job_has_kuberays_structure() -> None:
    job = load("ray_job.yaml")
    assert faults(job, RAY_JOB) == []
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    assert spec["submissionMode"] in {"K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"}
    assert cluster["authOptions"]["mode"] in {"token", "disabled"}
    check_command(spec["entrypoint"])
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        mounted = {m["name"] for c in pod["containers"] for m in c.get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda job: job["spec"].pop("entrypoint"), ".spec.entrypoint is missing"),
        (lambda job: job["spec"].update(entryPoint=""), ".spec.entryPoint is unknown"),
        (lambda job: job["spec"].update(backoffLimit="3"), ".spec.backoffLimit must be"),
    ],
)
def test_wrong_ray_job_is_found(change: Callable[[Any], Any], message: str) -> None:
    job = load("ray_job.yaml")
    change(job)
    assert any(fault.startswith(message) for fault in faults(job, RAY_JOB))


FAKE = """#!/bin/bash
echo "{name} $*" >> "$FAKE_LOG"
case "{name} $*" in
  "scontrol show hostnames"*) printf 'node1\\nnode2\\nnode3\\n' ;;
  *"hostname --ip-address"*) echo "10.0.0.1 fe80::1" ;;
  "taskgroup search"*)
    trap 'echo stopped >> "$FAKE_LOG"; exit 0' INT
    [ -z "${{FAKE_SECONDS:-}}" ] && exit "${{FAKE_STATUS:-0}}"
    for _ in $(seq $((FAKE_SECONDS * 20))); do sleep 0.05; done ;;
esac
"""


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a Slurm job whose commands only write down that they were called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("srun", "scontrol", "sbatch", "taskgroup", "python"):
        script = folder / name
        script.write_text(FAKE.format(name=name))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "FAKE_LOG": str(tmp_path / "log"),
        "SLURM_JOB_ID": "4242",
        "SLURM_JOB_NODELIST": "node[1-3]",
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_CPUS_PER_TASK": "16",
        "SLURM_GPUS_ON_NODE": "4",
        "START_SECONDS": "0",
        "SPACE": "quickstart",
        "RUN": "/shared/runs/a",
    }


def calls(slurm: Mapping[str, str]) -> Sequence[str]:
    log = Path(slurm["FAKE_LOG"])
    return log.read_text().splitlines() if log.exists() else []


def submit(slurm: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["bash", str(DEPLOY / "search.slurm")], env=dict(slurm))


def test_slurm_script_parses_and_asks_for_requeue() -> None:
    subprocess.run(["bash", "-n", str(DEPLOY / "search.slurm")], check=True)
    text = (DEPLOY / "search.slurm").read_text()
    asked = re.findall(r"^#SBATCH --([a-z-]+)", text, re.MULTILINE)
    assert {"nodes", "ntasks-per-node", "signal", "requeue", "open-mode"} <= set(asked)


def test_slurm_job_starts_a_head_workers_and_one_search(slurm: dict[str, str]) -> None:
    assert submit(slurm).wait(60) == 0
    starts = [call for call in calls(slurm) if "ray start" in call]
    head = next(call for call in starts if "--head" in call)
    assert "--nodelist=node1" in head
    assert "--node-ip-address=10.0.0.1 --port=24242" in head
    assert "--num-cpus=16 --num-gpus=4" in head
    (workers,) = (call for call in starts if "--head" not in call)
    assert "--nodes=2 --ntasks=2 --exclude=node1" in workers
    assert "--address=10.0.0.1:24242" in workers
    (search,) = (call for call in calls(slurm) if call.startswith("taskgroup search"))
    assert search == (
        "taskgroup search --space quickstart --run /shared/runs/a "
        "--address 10.0.0.1:24242 --fix resources.gpus=1"
    )
    assert not any("requeue" in call for call in calls(slurm))


def test_slurm_job_out_of_time_stops_and_queues_again(slurm: dict[str, str]) -> None:
    slurm["FAKE_SECONDS"] = "30"
    job = submit(slurm)
    deadline = time.monotonic() + 60
    while not any(call.startswith("taskgroup search") for call in calls(slurm)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # the script sets its trap right after
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) == 0
    assert "stopped" in calls(slurm), "the search was asked to stop, and did"
    assert calls(slurm)[-1] == "scontrol requeue 4242"


def test_slurm_job_fails_with_its_search(slurm: dict[str, str]) -> None:
    slurm["FAKE_STATUS"] = "2"
    assert submit(slurm).wait(60) == 2
    del slurm["RUN"]
    assert submit(slurm).wait(60) != 0
