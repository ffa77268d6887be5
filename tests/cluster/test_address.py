"""Whether a cluster answers, with servers that only pretend to be Ray."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from ray._private import services
from typer.testing import CliRunner

import taskgroup
from taskgroup.cli import app
from taskgroup.cluster.address import find_cluster
from taskgroup.cluster.connection import CODE_LIMIT
from taskgroup.cluster.surroundings import Surroundings
from taskgroup.errors import ResourceError

CODE = grpc.StatusCode
HEALTH = {"/grpc.health.v1.Health/Check": CODE.OK}
Serve = Callable[..., str]


@pytest.fixture(autouse=True)
def no_outer_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that ends each method with a code, OK or as named; gives host and port."""
    servers: list[Any] = []

    class Handlers(grpc.GenericRpcHandler):
        def __init__(self, codes: dict[str, Any]) -> None:
            self.codes = codes

        def service(self, details: Any) -> Any:
            def end(request: bytes, context: Any) -> bytes:
                code = self.codes[details.method]
                return b"" if code is CODE.OK else context.abort(code, "")

            return (
                grpc.unary_unary_rpc_method_handler(end) if details.method in self.codes else None
            )

    def start(codes: dict[str, Any]) -> str:
        server = grpc.server(ThreadPoolExecutor(1), handlers=[Handlers(codes)])
        servers.append(server)
        port = server.add_insecure_port("0.0.0.0:0")
        server.start()
        return f"localhost:{port}"

    yield start
    for server in servers:
        server.stop(None).wait()


def test_cluster_and_client_server_are_told_apart(serve: Serve) -> None:
    cluster = serve(HEALTH)
    client = serve({})
    assert not find_cluster(cluster).is_client
    assert str(find_cluster(f"ray://{client}")) == f"ray://{client}"
    with pytest.raises(ResourceError, match=r"another server answers there; if .* give ray://"):
        find_cluster(client)
    with pytest.raises(ResourceError, match=r"the cluster itself answers there"):
        find_cluster(f"ray://{cluster}")


def test_ray_address_is_what_auto_means(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve({})
    monkeypatch.setenv("RAY_ADDRESS", f"ray://{client}")
    assert find_cluster("auto").is_client


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which ``ray start`` notes the cluster that it began; not there yet."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


def test_auto_without_any_cluster_is_one_line(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "find_gcs_addresses", frozenset)
    result = CliRunner().invoke(app, ["search", "--space", "smoke", "--address", "auto"])
    assert result.exit_code == 2
    assert "that this machine belongs to, but none was found; start one" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_auto_means_the_cluster_that_ray_start_began(
    serve: Serve, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = (serve(HEALTH) for _ in range(2))
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: frozenset({ours, other}))
    with pytest.raises(
        ResourceError, match=r"must mean one Ray cluster, .*; name one by HOST:PORT"
    ):
        find_cluster("auto")
    begun.write_text(ours)
    assert find_cluster("auto") == find_cluster(ours) != find_cluster(other)
    monkeypatch.setattr(services, "find_gcs_addresses", frozenset)
    assert find_cluster("auto") == find_cluster(ours), "its head is another machine"


@pytest.mark.parametrize("text", ["nowhere", "host:0", "host:70000", "host:port", "ray://host"])
def test_malformed_address_is_refused(text: str) -> None:
    with pytest.raises(ResourceError, match="--address must be auto, HOST:PORT or ray://HOST:PORT"):
        find_cluster(text)


@pytest.mark.parametrize("code", [CODE.UNAVAILABLE, CODE.INTERNAL])
def test_a_server_that_cannot_answer_is_no_cluster(serve: Serve, code: Any) -> None:
    with pytest.raises(ResourceError, match="none answers there"):
        find_cluster(serve(dict.fromkeys(HEALTH, code)))


@pytest.mark.parametrize("command", ["search --space smoke", "evaluate best"])
@pytest.mark.parametrize("prefix", ["", "ray://"])
def test_nobody_there_is_one_line_within_seconds(prefix: str, command: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"{prefix}127.0.0.1:{taken.getsockname()[1]}"
        begin = time.monotonic()
        result = CliRunner().invoke(app, [*command.split(), "--address", address])
    assert time.monotonic() - begin < 10
    assert result.exit_code == 2
    assert "none answers there within 5 s" in result.output
    assert address in result.output, "as it was given, not as Ray looks it up"
    assert len(result.output.splitlines()) == 1


def test_folder_that_is_more_than_code_does_not_travel(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taskgroup, "__file__", str(tmp_path / "__init__.py"))
    with (tmp_path / "pictures.bin").open("wb") as file:
        file.truncate(CODE_LIMIT + 2**20)
    cluster = serve(HEALTH)
    result = CliRunner().invoke(app, ["search", "--space", "smoke", "--address", cluster])
    assert result.exit_code == 2
    assert result.stderr == (
        f"taskgroup: {tmp_path} must be at most 50 MB to travel to the workers, got 51 MB; "
        "move data and runs out of the package's folder\n"
    )


def test_surroundings_travel_but_a_nodes_own_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGROUP_DATA", "/driver/data")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "driver")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "driver")
    surroundings = Surroundings.here()
    assert "driver" not in repr(surroundings), "keys stay out of logs"
    monkeypatch.setenv("TASKGROUP_DATA", "/node/data")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "node")
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    surroundings.enter()

    assert os.environ["TASKGROUP_DATA"] == "/node/data"
    assert "AWS_SESSION_TOKEN" not in os.environ, "no half of another identity"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    surroundings.enter()
    assert (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SESSION_TOKEN"]) == ("driver",) * 2
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SESSION_TOKEN")
