"""What every model registry must do: subclass :class:`RegistryContract` in the tests of yours.

::

    class TestAcmeRegistry(RegistryContract):
        @pytest.fixture
        def registry(self, server): return AcmeRegistry(AcmeRegistry.Config(url=server.url))

        def reference(self, registry, n): return {"artifact": "acme.model", "version": n, "uri": …, "digest": …}

Run it against a real server: a mock has no races.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from ..errors import AliasNotFound, GateFailed, ModelNotFound, PromotionConflict, RegistryError
from ..metadata import NewModelVersion
from ..registry.gates import MetricGate

if TYPE_CHECKING:
    from ..metadata import ModelVersion
    from ..registry.models import ModelRegistry


class RegistryContract:
    """The behaviour that promotion, sensors and deployers rely on. Override ``registry`` and ``reference``."""

    MODEL = "contract"

    @pytest.fixture
    def registry(self) -> ModelRegistry:
        """An empty registry, ready for use."""
        raise NotImplementedError("Override the fixture `registry`.")

    def reference(self, registry: ModelRegistry, n: int) -> dict[str, Any]:
        """The reference of the ``n``-th stored model, one that ``registry`` accepts."""
        raise NotImplementedError("Override `reference`.")

    def add(self, registry: ModelRegistry, n: int, **facts: Any) -> ModelVersion:
        new = {"model": self.MODEL, "artifact": self.reference(registry, n), "source": f"source-{n}", **facts}
        return registry.register(NewModelVersion(**new))

    def test_versions_are_numbered_from_one(self, registry: ModelRegistry) -> None:
        assert [self.add(registry, n).version for n in (1, 2, 3)] == [1, 2, 3]

    def test_registering_again_from_the_same_source_is_the_same_version(self, registry: ModelRegistry) -> None:
        first = self.add(registry, 1)
        self.add(registry, 2)
        assert self.add(registry, 1).version == first.version == 1

    def test_what_was_registered_is_what_is_read(self, registry: ModelRegistry) -> None:
        facts: dict[str, Any] = {
            "metrics": {"accuracy": 0.93},
            "parameters": {"depth": 3, "loss": None},
            "input_schema": {"features": [{"name": "größe", "type": "float", "nullable": False}], "target": "y"},
            "example": [{"größe": 1.5}],
            "description": "the first",
        }
        self.add(registry, 1, **facts)
        read = registry.get(self.MODEL, version=1)
        assert {key: getattr(read, key) for key in facts} == facts
        assert read.artifact["digest"] == self.reference(registry, 1)["digest"]

    def test_the_newest_is_read_without_a_number(self, registry: ModelRegistry) -> None:
        self.add(registry, 1)
        self.add(registry, 2)
        assert registry.get(self.MODEL).version == 2

    def test_unknown_names_are_said_to_be_unknown(self, registry: ModelRegistry) -> None:
        with pytest.raises(ModelNotFound):
            registry.get("nobody")
        self.add(registry, 1)
        with pytest.raises(ModelNotFound):
            registry.get(self.MODEL, version=2)
        with pytest.raises(AliasNotFound):
            registry.get(self.MODEL, alias="production")
        assert registry.find(self.MODEL, alias="production") is None

    def test_an_alias_moves_only_from_where_it_was_seen(self, registry: ModelRegistry) -> None:
        for n in (1, 2, 3):
            self.add(registry, n)
        registry.move_alias(self.MODEL, "staging", 1, expected=None, actor="ada")
        with pytest.raises(PromotionConflict):
            registry.move_alias(self.MODEL, "staging", 2, expected=None, actor="bob")
        with pytest.raises(PromotionConflict):
            registry.move_alias(self.MODEL, "staging", 2, expected=3, actor="bob")
        registry.move_alias(self.MODEL, "staging", 2, expected=1, actor="bob")
        assert registry.get(self.MODEL, alias="staging").version == 2

    def test_history_is_a_chain_newest_first(self, registry: ModelRegistry) -> None:
        for n in (1, 2, 3):
            self.add(registry, n)
            registry.move_alias(self.MODEL, "staging", n, actor="ada", reason=f"reason {n}")
        registry.move_alias(self.MODEL, "production", 1, actor="ada")
        moves = registry.history(self.MODEL, "staging")
        assert [(move.from_version, move.to_version) for move in moves] == [(2, 3), (1, 2), (None, 1)]
        assert [move.reason for move in moves] == ["reason 3", "reason 2", "reason 1"]
        assert len(registry.history(self.MODEL)) == 4

    def test_promoting_twice_changes_once(self, registry: ModelRegistry) -> None:
        self.add(registry, 1, metrics={"accuracy": 0.9})
        gates = [MetricGate("accuracy", minimum=0.8)]
        first = registry.promote(self.MODEL, version=1, target="production", gates=gates, actor="ada")
        again = registry.promote(self.MODEL, version=1, target="production", gates=gates, actor="ada")
        assert first.changed
        assert not again.changed
        assert again.gates == first.gates
        assert len(registry.history(self.MODEL, "production")) == 1

    def test_a_failed_gate_moves_nothing_and_says_all(self, registry: ModelRegistry) -> None:
        self.add(registry, 1, metrics={"accuracy": 0.7, "latency": 9.0})
        gates = [MetricGate("accuracy", minimum=0.8), MetricGate("latency", maximum=5), MetricGate("accuracy", 0.5)]
        with pytest.raises(GateFailed) as caught:
            registry.promote(self.MODEL, version=1, target="production", gates=gates, actor="ada")
        assert [outcome.passed for outcome in caught.value.outcomes] == [False, False, True]
        assert registry.find(self.MODEL, alias="production") is None
        assert registry.history(self.MODEL, "production") == []

    def test_a_version_in_use_is_not_archived(self, registry: ModelRegistry) -> None:
        self.add(registry, 1)
        self.add(registry, 2)
        registry.promote(self.MODEL, version=1, target="production", actor="ada")
        with pytest.raises(RegistryError, match="production"):
            registry.archive(self.MODEL, 1, actor="ada")
        assert registry.get(self.MODEL, version=1).state == "active"
        assert registry.archive(self.MODEL, 2, actor="ada").state == "archived"
        assert registry.archive(self.MODEL, 2, actor="ada").state == "archived"

    def test_an_archived_version_gets_no_alias(self, registry: ModelRegistry) -> None:
        self.add(registry, 1)
        registry.archive(self.MODEL, 1, actor="ada")
        with pytest.raises(RegistryError):
            registry.promote(self.MODEL, version=1, target="production", actor="ada")
        with pytest.raises(RegistryError):
            registry.move_alias(self.MODEL, "production", 1, actor="ada")

    def test_threads_get_different_numbers(self, registry: ModelRegistry) -> None:
        references = [self.reference(registry, n) for n in range(24)]

        def add(n: int) -> int:
            new = NewModelVersion(model=self.MODEL, artifact=references[n], source=f"source-{n}")
            return registry.register(new).version

        with ThreadPoolExecutor(8) as pool:
            versions = list(pool.map(add, range(24)))
        assert sorted(versions) == list(range(1, 25))

    def test_of_many_promotions_at_once_none_is_lost(self, registry: ModelRegistry) -> None:
        for n in range(1, 9):
            self.add(registry, n)

        def promote(n: int) -> bool:
            try:
                return registry.promote(self.MODEL, version=n, target="production", actor=f"thread {n}").changed
            except PromotionConflict:
                return False

        with ThreadPoolExecutor(8) as pool:
            changed = list(pool.map(promote, range(1, 9)))
        moves = registry.history(self.MODEL, "production")[::-1]
        assert len(moves) == sum(changed) >= 1
        assert [move.from_version for move in moves] == [None, *(move.to_version for move in moves[:-1])]
        assert registry.get(self.MODEL, alias="production").version == moves[-1].to_version
