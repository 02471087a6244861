from __future__ import annotations

import pickle

import pytest
from windsock.provider.errors import (
    AliasNotFound,
    GateFailed,
    ModelNotFound,
    PromotionConflict,
    RegistryError,
)
from windsock.provider.metadata import Deployment, NewArtifact, NewModelVersion
from windsock.provider.metadata.records import now
from windsock.provider.registry.gates import MetricGate
from windsock.provider.registry.models import NativeModelRegistry


@pytest.fixture
def registry(metadata):
    return NativeModelRegistry.over(metadata)


def add(registry, accuracy=0.9, alias=None):
    """A next version of "churn"; its accuracy tells it apart."""
    artifact = registry.metadata.artifacts.record(
        NewArtifact(
            artifact="churn.train",
            uri=f"file:///models/{accuracy}",
            digest=f"blake3:{accuracy}",
            size=1,
            type="sklearn.linear_model.LogisticRegression",
        )
    )
    version = registry.register(
        NewModelVersion(model="churn", artifact=artifact.ref(), metrics={"accuracy": accuracy})
    ).version
    if alias:
        registry.move_alias("churn", alias, version, actor="test")
    return version


class Interloper:
    """A gate during which somebody else promotes."""

    def __init__(self, registry, version):
        self.registry = registry
        self.version = version

    def evaluate(self, comparison):
        self.registry.move_alias("churn", "production", self.version, actor="bob")
        return MetricGate("accuracy", minimum=0).evaluate(comparison)

    def to_dict(self):
        return {"gate": "interloper"}


class TestPromotion:
    def test_the_candidate_becomes_production(self, registry):
        add(registry, 0.8, alias="production")
        add(registry, 0.9, alias="candidate")
        result = registry.promote("churn", gates=["accuracy>=0.85"], actor="ada", reason="nightly", run="r1")
        assert (result.version, result.previous, result.alias, result.changed) == (2, 1, "production", True)
        move = registry.history("churn", "production")[0]
        assert (move.actor, move.reason, move.run) == ("ada", "nightly", "r1")
        assert move.gates == [outcome.to_dict() for outcome in result.gates]
        assert move.gates[0]["values"] == {"value": 0.9}

    def test_back_to_an_older_version(self, registry):
        for accuracy in (0.8, 0.9):
            add(registry, accuracy, alias="production")
        result = registry.promote("churn", version=1, actor="ada", reason="complaints")
        assert (result.version, result.previous) == (1, 2)

    def test_a_retry_answers_what_the_first_try_would_have(self, registry):
        add(registry, 0.8, alias="production")
        add(registry, 0.9, alias="candidate")
        first = registry.promote("churn", gates=["accuracy>=0.85"], actor="ada")
        again = registry.promote("churn", gates=["accuracy>=0.85"], actor="ada")
        assert again.to_dict() == {**first.to_dict(), "changed": False}

    def test_gates_are_not_asked_about_a_version_that_is_there(self, registry):
        add(registry, 0.8, alias="production")
        result = registry.promote("churn", version=1, gates=["accuracy>=0.99"], actor="ada")
        assert not result.changed

    def test_every_gate_is_evaluated_and_reported(self, registry):
        add(registry, 0.9, alias="candidate")
        with pytest.raises(GateFailed) as caught:
            registry.promote("churn", gates=["accuracy>=0.95", "recall>=0.5", "accuracy>=0.1"], actor="ada")
        error = pickle.loads(pickle.dumps(caught.value))
        assert [outcome.passed for outcome in error.outcomes] == [False, False, True]
        assert "2 of 3 gates failed" in str(error)
        assert "accuracy ≥ 0.95: it is 0.9" in str(error)

    def test_a_refusal_is_in_the_audit(self, registry):
        add(registry, 0.9, alias="candidate")
        with pytest.raises(GateFailed):
            registry.promote("churn", gates=["accuracy>=0.95"], actor="ada", reason="hope")
        event = registry.metadata.audit.list(limit=1)[0]
        assert (event.action, event.subject, event.actor, event.reason) == (
            "promotion_refused",
            "churn@1",
            "ada",
            "hope",
        )
        assert event.after["gates"][0]["passed"] is False


class TestConflict:
    def test_somebody_else_promoted_while_gates_were_evaluated(self, registry):
        for accuracy in (0.7, 0.8, 0.9):
            add(registry, accuracy)
        registry.move_alias("churn", "production", 1, actor="ada")
        with pytest.raises(PromotionConflict, match='"production" moved from version 1 to version 2 while') as caught:
            registry.promote("churn", version=3, gates=[Interloper(registry, 2)], actor="ada")
        assert (caught.value.expected, caught.value.found) == (1, 2)
        assert registry.get("churn", alias="production").version == 2

    def test_somebody_else_promoted_the_same_version(self, registry):
        for accuracy in (0.7, 0.8):
            add(registry, accuracy)
        result = registry.promote("churn", version=2, gates=[Interloper(registry, 2)], actor="ada")
        assert not result.changed
        assert [move.actor for move in registry.history("churn", "production")] == ["bob"]

    def test_what_the_caller_saw_counts(self, registry):
        for accuracy in (0.7, 0.8, 0.9):
            add(registry, accuracy)
        registry.move_alias("churn", "production", 2, actor="bob")
        with pytest.raises(PromotionConflict, match="from version 1 to version 2"):
            registry.promote("churn", version=3, expected=1, actor="ada")
        with pytest.raises(PromotionConflict, match="from no version to version 2"):
            registry.promote("churn", version=3, expected=None, actor="ada")
        assert registry.promote("churn", version=3, expected=2, actor="ada").changed


class TestMistakes:
    def test_unknown_names(self, registry):
        with pytest.raises(ModelNotFound):
            registry.promote("chrun", actor="ada")
        add(registry)
        with pytest.raises(AliasNotFound, match="candidate"):
            registry.promote("churn", actor="ada")

    @pytest.mark.parametrize("alias", ["7", "latest", "archived", "Latest"])
    def test_words_that_are_no_alias(self, registry, alias):
        add(registry)
        with pytest.raises(RegistryError):
            registry.promote("churn", version=1, target=alias, actor="ada")
        with pytest.raises(RegistryError):
            registry.move_alias("churn", alias, 1, actor="ada")

    def test_a_version_and_a_source(self, registry):
        with pytest.raises(RegistryError, match="not both"):
            registry.promote("churn", version=1, source="candidate", actor="ada")

    def test_from_production_to_production(self, registry):
        with pytest.raises(RegistryError, match="both"):
            registry.promote("churn", source="production", actor="ada")

    def test_a_wrong_gate_moves_nothing(self, registry):
        add(registry, alias="candidate")
        with pytest.raises(RegistryError, match="no kind of gate"):
            registry.promote("churn", gates=[{"gate": "metrik"}], actor="ada")
        assert registry.find("churn", alias="production") is None


class TestArchive:
    def test_a_served_version_is_kept(self, registry):
        add(registry)
        at = now()
        deployment = Deployment(
            name="shop",
            model="churn",
            version=1,
            previous_version=None,
            phase="ready",
            url="http://127.0.0.1:1",
            flavor="local",
            stack="local",
            handle={},
            revision=1,
            created_at=at,
            updated_at=at,
        )
        registry.metadata.deployments.put(deployment, expected_revision=None)
        with pytest.raises(RegistryError, match="deployment shop serves it"):
            registry.archive("churn", 1, actor="ada")
        assert registry.get("churn", version=1).state == "active"
        registry.metadata.deployments.delete("shop", actor="ada")
        assert registry.archive("churn", 1, actor="ada", reason="old").state == "archived"

    def test_an_archived_candidate_is_not_promoted(self, registry):
        add(registry)
        registry.archive("churn", 1, actor="ada")
        with pytest.raises(RegistryError, match="is archived and cannot become"):
            registry.promote("churn", version=1, actor="ada")
