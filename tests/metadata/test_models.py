from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from metadata_lab import digest, new_artifact
from windsock.provider.errors import (
    AliasNotFound,
    ArtifactNotFound,
    ConfigurationError,
    DeploymentNotFound,
    MetadataError,
    ModelNotFound,
    PromotionConflict,
    RecordNotFound,
)
from windsock.provider.metadata import Deployment, Metadata, NewDriftReport, NewModelVersion

if TYPE_CHECKING:
    from metadata_lab import Lab

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


class TestRegister:
    def test_keeps_everything(self, metadata: Metadata, lab: Lab) -> None:
        _, made = lab.step("fit", makes={"model": "m", "rows": "r"})
        new = NewModelVersion(
            model="churn",
            artifact=made["model"].ref(),
            baseline=made["rows"].ref(),
            evaluation=made["rows"].ref(),
            metrics={"accuracy": 0.9, "loss": math.inf},
            parameters={"depth": 3},
            input_schema={"columns": ["age"]},
            example=[[1.0]],
            requirements={"scikit-learn": "1.5"},
            description="first",
            tags={"team": "growth"},
            created_by="me",
        )
        made_version = metadata.models.register(new)
        assert metadata.models.get("churn", version=1) == made_version
        assert made_version.model_dump(exclude={"version", "state", "created_at"}) == new.model_dump()
        assert metadata.audit.list()[0].action == "register"

    def test_a_retry_gives_the_same_version(self, metadata: Metadata, lab: Lab) -> None:
        _, made = lab.step("fit", makes={"output": "m"})
        versions = []
        for attempt in (1, 2, 3):
            key = lab.start("register", try_number=attempt).key
            new = NewModelVersion(model="churn", artifact=made["output"].ref(), step_run=key)
            versions.append(metadata.models.register(new).version)
        assert versions == [1, 1, 1]

    def test_another_run_gives_the_next(self, metadata: Metadata, lab: Lab) -> None:
        _, made = lab.step("fit", makes={"output": "m"})
        new = NewModelVersion(model="churn", artifact=made["output"].ref())
        keys = [lab.start("register", run=f"r{i}").key for i in range(2)]
        assert [metadata.models.register(new.model_copy(update={"step_run": k})).version for k in keys] == [1, 2]

    def test_a_cleared_run_that_trained_anew_gives_the_next(self, lab: Lab) -> None:
        first, second = (lab.model(content=content, source="r1/register") for content in ("a", "b"))
        assert (first.version, second.version) == (1, 2)

    def test_without_a_source_each_call_registers(self, lab: Lab) -> None:
        assert [lab.model(content="same").version for _ in range(2)] == [1, 2]

    def test_an_unknown_artifact(self, metadata: Metadata) -> None:
        ref = {"artifact": "ghost", "version": 1, "uri": "x", "digest": digest("ghost"), "type": "t"}
        with pytest.raises(ArtifactNotFound, match='artifact of model "churn", "ghost"'):
            metadata.models.register(NewModelVersion(model="churn", artifact=ref))
        assert metadata.models.list().items == ()

    def test_a_bad_name(self, metadata: Metadata) -> None:
        with pytest.raises(ConfigurationError, match="model name"):
            metadata.models.register(NewModelVersion(model="a/b", artifact={}))


class TestGet:
    def test_what_is_not_there(self, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        with pytest.raises(ModelNotFound, match='Did you mean "churn"'):
            metadata.models.get("chrun")
        with pytest.raises(ModelNotFound, match="no version 9; the latest is 1"):
            metadata.models.get("churn", version=9)
        with pytest.raises(AliasNotFound, match='no alias "production"'):
            metadata.models.get("churn", alias="production")
        assert metadata.models.find("churn", alias="production") is None

    def test_list_shows_versions_and_aliases(self, metadata: Metadata, lab: Lab) -> None:
        lab.model("a")
        lab.model("b")
        lab.model("b")
        metadata.models.set_alias("b", "production", 1, actor="me")
        assert [(m.name, m.latest_version, m.aliases) for m in metadata.models.list()] == [
            ("a", 1, {}),
            ("b", 2, {"production": 1}),
        ]
        page = metadata.models.list(limit=1)
        assert [m.name for m in metadata.models.list(limit=1, after=str(page.next))] == ["b"]


class TestAlias:
    def test_moves_by_compare_and_set(self, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        lab.model()
        models = metadata.models
        models.set_alias("churn", "production", 1, expected=None, actor="ada", reason="first", gates=[{"gate": "a"}])
        models.set_alias("churn", "production", 2, expected=1, actor="bob", run="r")
        with pytest.raises(
            PromotionConflict, match="moved from version 1 to version 2 while you were promoting 1"
        ) as e:
            models.set_alias("churn", "production", 1, expected=1, actor="eve")
        assert (e.value.expected, e.value.current) == (1, 2)
        with pytest.raises(PromotionConflict, match="from nothing to version 2"):
            models.set_alias("churn", "production", 1, expected=None, actor="eve")
        second, first = models.history("churn", "production")
        assert (first.from_version, first.to_version, first.actor, first.reason) == (None, 1, "ada", "first")
        assert first.gates == [{"gate": "a"}]
        assert (second.from_version, second.to_version, second.run) == (1, 2, "r")
        assert [e.id for e in models.since("churn", after_id=first.id)] == [second.id]
        assert models.get("churn", alias="production").version == 2
        audited = metadata.audit.list()[0]
        assert (audited.actor, audited.before, audited.after) == (
            "bob",
            {"alias": "production", "version": 1},
            {"alias": "production", "version": 2},
        )

    def test_the_retry_of_a_promotion_is_no_conflict_and_no_second_event(self, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        for _ in range(2):
            metadata.models.set_alias("churn", "production", 1, expected=None, actor="ada", run="r")
        with pytest.raises(PromotionConflict):
            metadata.models.set_alias("churn", "production", 1, expected=None, actor="eve", run="other")
        assert len(metadata.models.history("churn")) == 1

    def test_must_point_at_an_active_version(self, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        with pytest.raises(ModelNotFound, match="no version 7"):
            metadata.models.set_alias("churn", "production", 7, actor="me")
        metadata.models.archive("churn", 1, "me", "old")
        with pytest.raises(ModelNotFound, match="archived its version 1"):
            metadata.models.set_alias("churn", "production", 1, actor="me")
        with pytest.raises(ModelNotFound):
            metadata.models.set_alias("ghost", "production", 1, actor="me")
        assert metadata.models.history("churn") == []

    def test_can_be_removed_and_comes_back_with_its_history(self, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        models = metadata.models
        models.set_alias("churn", "staging", 1, actor="me")
        with pytest.raises(PromotionConflict, match="removing it"):
            models.remove_alias("churn", "staging", expected=2, actor="me")
        models.remove_alias("churn", "staging", expected=1, actor="me", reason="done")
        assert models.aliases("churn") == {}
        with pytest.raises(AliasNotFound):
            models.remove_alias("churn", "staging", actor="me")
        assert models.set_alias("churn", "staging", 1, expected=None, actor="me").revision == 3
        assert [e.to_version for e in models.history("churn")] == [1, None, 1]

    def test_holds_its_version_from_the_archive(self, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        metadata.models.set_alias("churn", "production", 1, actor="me")
        with pytest.raises(PromotionConflict, match='alias "production" points at it'):
            metadata.models.archive("churn", 1, "me", "old")
        metadata.models.remove_alias("churn", "production", actor="me")
        assert metadata.models.archive("churn", 1, "me", "old").state == "archived"
        assert metadata.models.archive("churn", 1, "me", "again").state == "archived"
        assert sum(e.action == "archive" for e in metadata.audit.list()) == 1


class TestTransaction:
    def test_all_or_nothing(self, metadata: Metadata, lab: Lab) -> None:
        lab.model()

        def promote_and_fail() -> None:
            with metadata.transaction():
                metadata.models.set_alias("churn", "production", 1, actor="me")
                assert metadata.models.get("churn", alias="production").version == 1  # its own writes are visible
                raise RuntimeError("stop")

        with pytest.raises(RuntimeError, match="stop"):
            promote_and_fail()
        assert metadata.models.aliases("churn") == {}
        assert metadata.models.history("churn") == []

    def test_several_writes_are_one(self, metadata: Metadata, lab: Lab) -> None:
        with metadata.transaction():
            lab.model()
            metadata.models.set_alias("churn", "production", 1, actor="me")
            with metadata.transaction():
                metadata.audit.append("me", "note", "model", "churn")
        assert metadata.models.get("churn", alias="production").version == 1


class TestDeployment:
    def new(self, **facts: object) -> Deployment:
        values = {"name": "churn", "model": "churn", "version": 1, "phase": "pending", "flavor": "local", **facts}
        return Deployment.model_validate(values)

    def test_its_life(self, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        lab.model()
        put = metadata.deployments.put
        first = put(self.new(handle={"pid": 7}), expected_revision=None, actor="ada")
        ready = first.model_copy(update={"phase": "ready", "url": "http://x"})
        ready = put(ready, expected_revision=1, actor="ada", action="ready")
        rolled = ready.model_copy(update={"version": 2, "previous_version": 1})
        rolled = put(rolled, expected_revision=2, actor="bob", action="roll_over", reason="better")
        assert metadata.deployments.get("churn") == rolled
        assert rolled.created_at == first.created_at
        metadata.deployments.delete("churn", actor="eve", reason="too dear")
        assert metadata.deployments.find("churn") is None
        assert metadata.deployments.list().items == ()
        with pytest.raises(DeploymentNotFound, match='no deployment "churn"'):
            metadata.deployments.get("churn")
        again = put(self.new(), expected_revision=None, actor="ada")
        assert again.revision == 5
        events = [(e.action, e.from_version, e.to_version, e.actor) for e in metadata.deployments.history("churn")]
        assert events == [
            ("create", None, 1, "ada"),
            ("delete", 2, None, "eve"),
            ("roll_over", 1, 2, "bob"),
            ("ready", 1, 1, "ada"),
            ("create", None, 1, "ada"),
        ]
        assert [e.id for e in metadata.deployments.since("churn", after_id=3)] == [4, 5]

    def test_needs_its_model_version(self, metadata: Metadata) -> None:
        with pytest.raises(ModelNotFound):
            metadata.deployments.put(self.new(), expected_revision=None)

    def test_the_handle_is_not_audited(self, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        metadata.deployments.put(self.new(handle={"token": "hunter2"}), expected_revision=None)
        assert "hunter2" not in metadata.audit.list()[0].model_dump_json()


class TestDrift:
    def report(self, hours: int = 0, **facts: object) -> NewDriftReport:
        start = START + timedelta(hours=hours)
        values = {"model": "churn", "version": 1, "rows": 10, "drifted": True, "drift_share": 0.5, **facts}
        return NewDriftReport.model_validate(
            {"window_start": start, "window_end": start + timedelta(hours=1), **values}
        )

    def test_the_same_window_is_one_report(self, metadata: Metadata) -> None:
        features = {"age": {"status": "drift", "metrics": {"psi": 0.3}, "reason": "moved"}}
        first = metadata.drift.record(self.report(features=features, reasons=["age moved"]))
        other_zone = START.astimezone(timezone(timedelta(hours=5)))
        assert metadata.drift.record(self.report(window_start=other_zone)) == first
        assert metadata.drift.get(first.id).features == features
        assert metadata.drift.record(self.report(deployment="churn")).id != first.id
        assert metadata.drift.record(self.report(edges_id="e2")).id != first.id

    def test_lists_and_cursors(self, metadata: Metadata) -> None:
        ids = [metadata.drift.record(self.report(i, drifted=i % 2 == 1, deployment="d")).id for i in range(6)]
        assert [r.id for r in metadata.drift.since(ids[1])] == ids[2:]
        assert [r.id for r in metadata.drift.since(0, deployment="d", drifted=True)] == ids[1::2]
        assert metadata.drift.since(0, model="other") == []
        page = metadata.drift.list(limit=4)
        assert [r.id for r in page] == ids[:1:-1]
        assert [r.id for r in metadata.drift.list(before=page.next)] == ids[1::-1]
        latest = metadata.drift.latest(deployment="d")
        assert latest is not None
        assert latest.id == ids[-1]
        assert metadata.drift.latest("other") is None

    def test_a_claim_is_granted_once(self, metadata: Metadata) -> None:
        report = metadata.drift.record(self.report()).id
        claim = metadata.drift.claim
        assert claim(report, "retrain", claimant="run-1")
        assert not claim(report, "retrain", claimant="run-2")
        assert not claim(report, "retrain")
        assert claim(report, "retrain", claimant="run-1")  # the retry of the one that has it
        assert claim(report, "page-somebody")
        with pytest.raises(RecordNotFound):
            claim(99, "retrain")

    def test_the_cooldown_of_a_consumer(self, metadata: Metadata) -> None:
        reports = [metadata.drift.record(self.report(i)).id for i in range(3)]
        day = timedelta(days=1)
        claim = metadata.drift.claim
        assert claim(reports[0], "retrain", cooldown=day, now=START)
        assert not claim(reports[1], "retrain", cooldown=day, now=START + day - timedelta(seconds=1))
        assert not metadata.drift.claimable(reports[1], "retrain", cooldown=day, now=START + timedelta(hours=1))
        assert claim(reports[1], "other", cooldown=day, now=START + timedelta(hours=1))
        assert metadata.drift.claimable(reports[1], "retrain", cooldown=day, now=START + day)
        assert claim(reports[1], "retrain", cooldown=day, now=START + day)
        assert not claim(reports[2], "retrain", cooldown=day, now=START + day)
        assert claim(reports[2], "retrain", now=START + day)  # a consumer without a cool-down waits for nothing


class TestPipelines:
    def test_a_version_is_one_digest(self, metadata: Metadata) -> None:
        register = metadata.pipelines.register
        numbers = [register("churn", digest=d, spec={"d": d}, source_digest="s").number for d in "aabca"]
        assert numbers == [1, 1, 2, 3, 1]
        assert metadata.pipelines.get("churn").spec == {"d": "c"}
        assert metadata.pipelines.get("churn", 2).digest == "b"
        register("other", digest="z", spec={}, source_digest="s", requirements={"numpy": "2.0"})
        assert [(p.pipeline, p.number) for p in metadata.pipelines.list()] == [("churn", 3), ("other", 1)]
        page = metadata.pipelines.versions("churn", limit=2)
        assert [v.number for v in page] == [3, 2]
        assert [v.number for v in metadata.pipelines.versions("churn", before=page.next)] == [1]
        with pytest.raises(RecordNotFound, match=r'"chrun" is not registered\.\nDid you mean "churn"'):
            metadata.pipelines.get("chrun")
        with pytest.raises(RecordNotFound, match="no version 9"):
            metadata.pipelines.get("churn", 9)


class TestArtifacts:
    def test_are_found_by_name_digest_and_type(self, metadata: Metadata) -> None:
        record = metadata.artifacts.record
        first, second = record(new_artifact("a", 1)), record(new_artifact("a", 2))
        other = record(new_artifact("b", 1, type="builtins.int"))
        assert record(new_artifact("a", 1)) == first
        assert metadata.artifacts.get("a") == second
        assert metadata.artifacts.get("a", 1) == first
        assert metadata.artifacts.by_digest(first.digest) == [first, other]
        assert metadata.artifacts.list().items == (other, second, first)
        assert metadata.artifacts.list("a").items == (second, first)
        assert metadata.artifacts.list(type="builtins.int").items == (other,)
        assert metadata.artifacts.list("a", "builtins.int").items == ()
        page = metadata.artifacts.list("a", limit=1)
        assert metadata.artifacts.list("a", limit=1, before=page.next).items == (first,)
        page = metadata.artifacts.list(limit=1)
        assert metadata.artifacts.list(before=page.next).items == (second, first)
        assert [(a.name, a.latest_version) for a in metadata.artifacts.names()] == [("a", 2), ("b", 1)]
        assert set(first.ref()) == {"artifact", "version", "uri", "digest", "type"}

    def test_what_is_not_there(self, metadata: Metadata) -> None:
        metadata.artifacts.record(new_artifact("churn.train"))
        with pytest.raises(ArtifactNotFound, match=r'Did you mean "churn\.train"'):
            metadata.artifacts.get("churn.trian")
        with pytest.raises(ArtifactNotFound, match="no version 3; the latest is 1"):
            metadata.artifacts.get("churn.train", 3)
        assert metadata.artifacts.find("churn.trian") is None


class TestAudit:
    def test_the_newest_first_in_pages(self, metadata: Metadata) -> None:
        for i in range(5):
            metadata.audit.append("me", f"a{i}", "model", "churn", {"n": i}, None, "why \0")
        page = metadata.audit.list(limit=2)
        assert [e.action for e in page] == ["a4", "a3"]
        assert page[0].reason == "why \ufffd"
        assert [e.action for e in metadata.audit.list(before=page.next)] == ["a2", "a1", "a0"]

    def test_a_refused_row_shows_no_values(self, metadata: Metadata) -> None:
        with pytest.raises(MetadataError) as caught, metadata.transaction():
            metadata.audit.append(None, "secret-action", "model", "churn")  # type: ignore[arg-type]
        assert "secret-action" not in str(caught.value)
