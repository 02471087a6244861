"""What happens when processes die, and what never happens to those of others."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import serving_lab as lab
from windsock.provider.deployers import state
from windsock.provider.deployers.processes import Process, identify
from windsock.provider.deployers.sockets import is_free
from windsock.provider.errors import DeploymentFailed, DeploymentNotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from windsock.provider.artifacts.store import ArtifactStore
    from windsock.provider.component import ComponentContext
    from windsock.provider.deployers.local import LocalDeployer


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return value


def answer_of(url: str | None) -> float | None:
    client = lab.Client(url)
    try:
        status, answer = client.post("/predict", lab.ROW)
    except OSError:
        return None
    finally:
        client.close()
    return answer["predictions"][0] if status == 200 else None


class TestServerDies:
    def test_it_is_started_again_on_the_same_port(self, deployer: LocalDeployer, store: ArtifactStore) -> None:
        url = deployer.deploy(lab.linear_request(store, 1)).url
        server = deployer.describe("line").handle["workers"][0]
        os.kill(server["pid"], signal.SIGKILL)
        eventually(lambda: deployer.describe("line").handle["restarts"] == 1)
        assert deployer.describe("line").phase in ("starting", "ready")
        eventually(lambda: deployer.describe("line").phase == "ready")
        after = deployer.describe("line")
        assert (after.phase, after.url) == ("ready", url)
        assert after.handle["workers"][0] != server
        assert answer_of(url) == 103.0

    def test_a_client_that_asks_meanwhile_waits_and_is_answered(
        self, deployer: LocalDeployer, store: ArtifactStore
    ) -> None:
        url = deployer.deploy(lab.linear_request(store, 1)).url
        os.kill(deployer.describe("line").handle["workers"][0]["pid"], signal.SIGKILL)
        assert answer_of(url) == 103.0, "the listening socket outlives the server"


class TestSupervisorDies:
    def test_describe_tells_and_deploy_heals_without_a_gap(self, deployer: LocalDeployer, store: ArtifactStore) -> None:
        request = lab.linear_request(store, 1)
        before = deployer.deploy(request)
        os.kill(before.handle["supervisor"]["pid"], signal.SIGKILL)
        eventually(lambda: "supervisor is gone" in str(deployer.describe("line").detail))
        assert deployer.describe("line").phase == "degraded"
        assert answer_of(before.url) == 103.0, "the server serves on"
        after = deployer.deploy(request)
        assert (after.phase, after.url) == ("ready", before.url)
        assert answer_of(before.url) == 103.0
        assert after.handle["supervisor"] != before.handle["supervisor"]
        old = Process.from_dict(before.handle["workers"][0])
        eventually(lambda: not old.alive())
        eventually(lambda: len(deployer.describe("line").handle["workers"]) == 1)

    def test_everything_is_gone_and_deploy_brings_it_back(
        self, deployer: LocalDeployer, store: ArtifactStore, home: Path
    ) -> None:
        before = deployer.deploy(lab.linear_request(store, 1))
        lab.kill_all(home)
        eventually(lambda: deployer.describe("line").phase == "failed")
        after = deployer.deploy(lab.linear_request(store, 2))
        assert after.url == before.url, "the port is kept"
        assert answer_of(after.url) == 203.0

    def test_delete_ends_an_orphaned_server(self, deployer: LocalDeployer, store: ArtifactStore, home: Path) -> None:
        before = deployer.deploy(lab.linear_request(store, 1))
        os.kill(before.handle["supervisor"]["pid"], signal.SIGKILL)
        deployer.delete("line")
        assert lab.processes_of(home) == []
        with pytest.raises(DeploymentNotFound):
            deployer.describe("line")


class TestForeignProcesses:
    def test_a_stale_pid_is_never_killed(self, deployer: LocalDeployer, store: ArtifactStore, home: Path) -> None:
        before = deployer.deploy(lab.linear_request(store, 1))
        lab.kill_all(home)
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"]) as innocent:
            folder = state.folder_of(home, "line")
            stored = json.loads((folder / "state.json").read_text())
            stored["workers"][0]["pid"] = innocent.pid  # the kernel gave the pid to somebody else
            stored["supervisor"]["pid"] = innocent.pid
            (folder / "state.json").write_text(json.dumps(stored))
            assert deployer.deploy(lab.linear_request(store, 2)).url == before.url
            deployer.delete("line")
            assert innocent.poll() is None
            innocent.kill()

    def test_only_the_very_process_is_signalled(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"]) as child:
            itself = identify(child.pid)
            assert itself is not None
            assert not Process(child.pid, itself.started + "0").kill()
            assert child.poll() is None
            assert itself.kill()
            child.wait(10)
            assert not itself.kill()
            assert not itself.alive()

    def test_a_port_that_somebody_else_took_is_replaced(
        self, deployer: LocalDeployer, store: ArtifactStore, home: Path
    ) -> None:
        before = deployer.deploy(lab.linear_request(store, 1))
        lab.kill_all(home)
        eventually(lambda: not lab.processes_of(home))
        eventually(lambda: is_free("127.0.0.1", before.handle["port"]))
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", before.handle["port"]))
            other.listen()
            after = deployer.deploy(lab.linear_request(store, 1))
            assert after.url != before.url
            assert answer_of(after.url) == 103.0

    def test_an_asked_port_that_is_taken_is_an_error(self, context: ComponentContext, store: ArtifactStore) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            deployer = lab.deployer_of(context, port=other.getsockname()[1])
            with pytest.raises(DeploymentFailed, match="cannot be had"):
                deployer.deploy(lab.linear_request(store, 1))
            deployer.delete("line")


class TestFirstDeployment:
    def test_one_that_fails_says_why_and_leaves_no_process(
        self, deployer: LocalDeployer, store: ArtifactStore, home: Path
    ) -> None:
        request = lab.linear_request(store, 1, example=[{"a": 1.0}])
        with pytest.raises(DeploymentFailed, match='feature "b" is missing') as failure:
            deployer.deploy(request)
        assert "log" in str(failure.value)
        eventually(lambda: lab.processes_of(home) == [])
        described = deployer.describe("line")
        assert described.phase == "failed"
        assert 'feature "b" is missing' in str(described.detail)

    def test_a_corrupted_artifact_is_not_served(self, deployer: LocalDeployer, store: ArtifactStore) -> None:
        request = lab.linear_request(store, 1)
        path = store.local_path(str(request.artifact["uri"]))
        assert path is not None
        path.chmod(0o600)
        path.write_bytes(lab.linear(666.0))
        with pytest.raises(DeploymentFailed, match="digest"):
            deployer.deploy(request)

    def test_a_pickle_is_refused_unless_the_stack_allows_it(
        self, deployer: LocalDeployer, context: ComponentContext, store: ArtifactStore
    ) -> None:
        from fractions import Fraction

        artifact = lab.ref_of({"model": Fraction(1, 3)}, store, allow_pickle=True)
        request = lab.linear_request(store, 1, artifact=artifact)
        with pytest.raises(DeploymentFailed, match="pickle"):
            deployer.deploy(request)
        trusting = lab.deployer_of(context, allow_pickle=True)
        with pytest.raises(DeploymentFailed, match="no predict method"):
            trusting.deploy(request)

    def test_its_files_hold_no_secret_and_are_private(
        self, context: ComponentContext, store: ArtifactStore, home: Path
    ) -> None:
        secret = "s3cr3t-t0ken"
        connection = json.dumps({"conn_type": "http", "password": secret})
        guarded = lab.deployer_of(
            lab.context_of(home, {"AIRFLOW_CONN_SERVING": connection}), token_connection="serving"
        )
        state_ = guarded.deploy(lab.linear_request(store, 1))
        try:
            files = [path for path in (home / "deployments").rglob("*") if path.is_file()]
            assert files
            assert not [path for path in files if secret.encode() in path.read_bytes()]
            assert not [path for path in files if path.stat().st_mode & 0o077]
            anonymous, known = lab.Client(state_.url), lab.Client(state_.url, token=secret)
            for path in ("/", "/v2", "/metrics", "/v2/models/line"):
                assert anonymous.get(path)[0] == 401
                assert known.get(path)[0] == 200
            assert anonymous.post("/predict", lab.ROW)[0] == 401
            assert known.post("/predict", lab.ROW)[0] == 200
            assert lab.Client(state_.url, token=secret + "x").post("/predict", lab.ROW)[0] == 401
            assert anonymous.get("/v2/health/ready")[0] == 200
            for pid in lab.processes_of(home):
                assert secret not in (lab.Path(f"/proc/{pid}/cmdline")).read_text()
        finally:
            guarded.delete("line")


class TestDeepHome:
    def test_a_home_whose_sockets_have_too_long_paths(self, home: Path) -> None:
        context = lab.context_of(home / ("deep" * 20) / ("er" * 40))
        deployer = lab.deployer_of(context)
        state_ = deployer.deploy(lab.linear_request(lab.store_of(context), 1))
        try:
            assert answer_of(state_.url) == 103.0
        finally:
            deployer.delete("line")
