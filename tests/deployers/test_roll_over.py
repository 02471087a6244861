"""Replacing what is served under load: nobody may notice, but for the better answers."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import serving_lab as lab
from windsock.provider.errors import DeploymentFailed

if TYPE_CHECKING:
    from pathlib import Path

    from windsock.provider.artifacts.store import ArtifactStore
    from windsock.provider.deployers.local import LocalDeployer


class Load:
    """So many clients that ask without a pause, each on a connection that it keeps as long as the server does."""

    def __init__(self, url: str | None, clients: int) -> None:
        self.url = url
        self.errors: list[Any] = []
        self.answers: list[list[tuple[float, int]]] = [[] for _ in range(clients)]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(answers,)) for answers in self.answers]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, answers: list[tuple[float, int]]) -> None:
        client = lab.Client(self.url)
        while not self._stop.is_set():
            try:
                status, answer = client.post("/predict", {"instances": [lab.ROW]})
                if status != 200 or answer["predictions"] != [3.0 + 100 * answer["model_version"]]:
                    self.errors.append((status, answer))
                answers.append((time.monotonic(), answer["model_version"]))
            except Exception as error:
                self.errors.append(repr(error))
                client.close()
                client = lab.Client(self.url)
        client.close()

    @property
    def versions(self) -> list[int]:
        return sorted({version for answers in self.answers for _, version in answers})


class TestRollOver:
    @pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
    def test_ten_versions_under_load_without_a_failed_request(
        self,
        deployer: LocalDeployer,
        store: ArtifactStore,
        loop: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        if loop == "asyncio":
            (tmp_path / "path").mkdir()
            (tmp_path / "path" / "uvloop.py").write_text("raise ImportError('this test has no uvloop')")
            monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
        first = deployer.deploy(lab.linear_request(store, 1))
        with Load(first.url, clients=10) as load:
            for version in range(2, 12):
                state = deployer.deploy(lab.linear_request(store, version))
                assert (state.version, state.url) == (version, first.url)
                deployed = time.monotonic()
                time.sleep(0.3)
        assert load.errors == []
        assert load.versions == list(range(1, 12))
        assert all(len(answers) > 100 for answers in load.answers)
        late = [version for answers in load.answers for at, version in answers if at > deployed + 0.2]
        assert set(late) == {11}

    def test_the_old_server_ends_when_its_last_connection_does(
        self, deployer: LocalDeployer, store: ArtifactStore
    ) -> None:
        state = deployer.deploy(lab.linear_request(store, 1))
        idle = lab.Client(state.url)
        assert idle.get("/v2/health/live")[0] == 200
        deployer.deploy(lab.linear_request(store, 2))
        time.sleep(0.5)
        assert len(deployer.describe("line").handle["workers"]) == 2, "the idle client may still ask"
        status, answer = idle.post("/predict", lab.ROW)
        assert (status, answer["model_version"]) == (200, 1)
        assert idle.response_headers["connection"] == "close"
        deadline = time.monotonic() + 10
        while len(deployer.describe("line").handle["workers"]) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert idle.post("/predict", lab.ROW)[1]["model_version"] == 2
        idle.close()

    def test_a_version_that_cannot_start_changes_nothing(self, deployer: LocalDeployer, store: ArtifactStore) -> None:
        state = deployer.deploy(lab.linear_request(store, 1))
        broken = lab.linear_request(store, 2, artifact=lab.ref_of(b"no model at all", store))
        with Load(state.url, clients=2) as load, pytest.raises(DeploymentFailed, match="no ONNX model") as failure:
            deployer.deploy(broken)
        assert "Version 1 keeps serving" in str(failure.value)
        assert load.errors == []
        assert load.versions == [1]
        assert deployer.describe("line").version == 1

    def test_deploying_what_is_served_starts_nothing(self, deployer: LocalDeployer, store: ArtifactStore) -> None:
        request = lab.linear_request(store, 1)
        first, second = deployer.deploy(request), deployer.deploy(request)
        assert first.handle["workers"] == second.handle["workers"]
        assert second.handle["generation"] == 1
