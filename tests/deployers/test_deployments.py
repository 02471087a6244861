"""Deployments with a record: what the metadata say is what is true, also after failures."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import serving_lab as lab
from windsock.provider.artifacts.saving import save
from windsock.provider.deployers import deployments
from windsock.provider.errors import AliasNotFound, Conflict, DeploymentFailed, DeploymentNotFound, ModelNotFound
from windsock.provider.metadata import Metadata, NewArtifact, NewModelVersion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from windsock.provider.artifacts.store import ArtifactStore
    from windsock.provider.deployers.local import LocalDeployer


@pytest.fixture
def metadata(tmp_path: Path) -> Iterator[Metadata]:
    metadata = Metadata.open(f"sqlite:///{tmp_path}/windsock.db")
    yield metadata
    metadata.close()


class Shop:
    """A registry with three versions, the third of which cannot be served, and the functions under test."""

    def __init__(self, metadata: Metadata, deployer: LocalDeployer, store: ArtifactStore) -> None:
        self.metadata, self.deployer, self.store = metadata, deployer, store
        for version in (1, 2, 3):
            stored = save(lab.linear(100.0 * version) if version < 3 else b"no model", store)
            facts = {name: getattr(stored, name) for name in ("uri", "digest", "size", "type", "materializer")}
            artifact = metadata.artifacts.record(NewArtifact(artifact="line.train", **facts))
            metadata.models.register(
                NewModelVersion(
                    model="line",
                    artifact=artifact.ref(),
                    input_schema=lab.LINEAR_SCHEMA,
                    example=[lab.ROW],
                    source=f"test/{version}",
                )
            )
        metadata.models.set_alias("line", "production", 1, actor="ann")

    def deploy(self, **facts: Any) -> Any:
        given = {"name": "line-eu", "model": "line", "actor": "ann", **facts}
        return deployments.deploy(metadata=self.metadata, deployer=self.deployer, store=self.store, **given)

    def roll_back(self, **facts: Any) -> Any:
        return deployments.roll_back(
            metadata=self.metadata, deployer=self.deployer, store=self.store, name="line-eu", actor="bob", **facts
        )

    def answer(self) -> float:
        client = lab.Client(self.deployer.describe("line-eu").url)
        answer: float = client.post("/predict", lab.ROW)[1]["predictions"][0]
        client.close()
        return answer

    @property
    def record(self) -> Any:
        return self.metadata.deployments.get("line-eu")

    @property
    def actions(self) -> list[tuple[str, int | None, int | None, str]]:
        events = reversed(self.metadata.deployments.history("line-eu"))
        return [(event.action, event.from_version, event.to_version, event.actor) for event in events]


@pytest.fixture
def shop(metadata: Metadata, deployer: LocalDeployer, store: ArtifactStore) -> Shop:
    return Shop(metadata, deployer, store)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


class TestDeploy:
    def test_an_alias_a_version_and_back_again(self, shop: Shop) -> None:
        first = shop.deploy(alias="production", reason="first", stack="local")
        assert (first.version, first.phase, first.flavor, first.stack) == (1, "ready", "local", "local")
        assert shop.answer() == 103.0
        second = shop.deploy(version=2)
        assert (second.version, second.previous_version, second.url) == (2, 1, first.url)
        assert shop.answer() == 203.0
        back = shop.roll_back(reason="too high")
        assert (back.version, back.previous_version, back.phase) == (1, 2, "ready")
        assert shop.answer() == 103.0
        assert shop.roll_back().version == 2
        assert [entry for entry in shop.actions if entry[0] != "ready"] == [
            ("deploy", None, 1, "ann"),
            ("deploy", 1, 2, "ann"),
            ("roll_back", 2, 1, "bob"),
            ("roll_back", 1, 2, "bob"),
        ]

    def test_again_writes_no_history(self, shop: Shop) -> None:
        shop.deploy(version=1)
        before = (shop.record, shop.actions)
        assert shop.deploy(version=1) == before[0]
        assert (shop.record, shop.actions) == before

    def test_again_heals_what_was_killed(self, shop: Shop, home: Path) -> None:
        shop.deploy(version=1)
        lab.kill_all(home)
        shop.deploy(version=1)
        assert shop.answer() == 103.0
        assert shop.record.phase == "ready"

    def test_a_failure_is_recorded_and_the_old_version_serves_on(self, shop: Shop) -> None:
        before = shop.deploy(version=2)
        with pytest.raises(DeploymentFailed, match="no ONNX model"):
            shop.deploy(version=3)
        record = shop.record
        assert (record.phase, record.version, record.url) == ("ready", 2, before.url)
        assert shop.answer() == 203.0
        assert shop.actions[-1][0] == "deploy_failed"
        assert shop.deploy(version=1).version == 1

    def test_a_first_failure_is_a_failed_deployment(self, shop: Shop) -> None:
        with pytest.raises(DeploymentFailed):
            shop.deploy(version=3)
        assert (shop.record.phase, shop.record.version) == ("failed", 3)
        assert shop.deploy(version=1).phase == "ready"
        assert shop.answer() == 103.0

    def test_a_process_that_died_in_between_is_gone_on_from(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        shop.deploy(version=1)
        with monkeypatch.context() as patch:
            patch.setattr(deployments, "_finish", _interrupted)
            with pytest.raises(KeyboardInterrupt):
                shop.deploy(version=2)
        assert shop.record.phase == "pending"
        assert shop.deploy(version=2).phase == "ready"
        assert (shop.record.version, shop.record.previous_version) == (2, 1)

    def test_two_at_once_agree_with_what_is_served(self, shop: Shop) -> None:
        shop.deploy(version=1)
        outcomes: list[Any] = []

        def attempt(version: int) -> None:
            try:
                outcomes.append(shop.deploy(version=version))
            except Conflict as conflict:
                outcomes.append(conflict)

        threads = [threading.Thread(target=attempt, args=(version,)) for version in (2, 1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert any(not isinstance(outcome, Conflict) for outcome in outcomes)
        assert shop.record.phase == "ready"
        assert shop.answer() == 100.0 * shop.record.version + 3.0

    def test_wrong_names(self, shop: Shop) -> None:
        with pytest.raises(ModelNotFound):
            shop.deploy(model="lime")
        with pytest.raises(AliasNotFound):
            shop.deploy(alias="champion")
        with pytest.raises(AliasNotFound, match="points at version 1, not at 2"):
            shop.deploy(alias="production", version=2)
        with pytest.raises(DeploymentNotFound):
            shop.roll_back()
        shop.deploy(version=1)
        with pytest.raises(DeploymentFailed, match="no version before 1"):
            shop.roll_back()


class TestDelete:
    def test_server_and_record_are_gone_and_the_history_stays(self, shop: Shop, home: Path) -> None:
        shop.deploy(version=1)
        deployments.delete(metadata=shop.metadata, deployer=shop.deployer, name="line-eu", actor="ann")
        assert shop.metadata.deployments.find("line-eu") is None
        assert lab.processes_of(home) == []
        assert shop.actions[-1] == ("delete", 1, None, "ann")
        assert shop.deploy(version=2).phase == "ready"

    def test_one_that_never_was(self, shop: Shop) -> None:
        with pytest.raises(DeploymentNotFound):
            deployments.delete(metadata=shop.metadata, deployer=shop.deployer, name="nobody", actor="ann")
