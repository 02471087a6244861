"""What a prune removes, and above all what it does not."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from retention_lab import NO_TIME, Depot
from windsock.provider.errors import ComponentInvalid, ContentRemoved
from windsock.provider.metadata import Deployment, StepFinish, StepStart
from windsock.provider.retention.policy import RetentionPolicy
from windsock.provider.retention.prune import prune

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)


class TestPolicies:
    def test_without_a_policy_everything_is_kept(self, depot: Depot) -> None:
        made = depot.run("old", days_ago=1000, model="a")
        for _ in range(2):
            summary = depot.prune(default={})
        assert (summary.versions_expired, summary.removed) == (0, 0)
        assert depot.here(made["model"])

    def test_the_last_runs_and_the_last_days(self, depot: Depot) -> None:
        made = [depot.run(f"r{age}", days_ago=age, model=f"content {age}")["model"] for age in (2, 4, 6, 8, 10)]
        policy = {"default": {"runs": 1, "days": 5}}
        assert depot.prune(**policy).marked == 3
        summary = depot.prune(**policy)
        assert (summary.runs_kept, summary.runs_expired, summary.removed) == (2, 3, 3)
        assert [depot.here(version) for version in made] == [True, True, False, False, False]
        assert summary.removed_bytes == sum(version.size for version in made[2:])

    def test_states_have_rules_of_their_own(self, depot: Depot) -> None:
        good = [depot.run(f"g{i}", days_ago=3 + i, model=f"good {i}")["model"] for i in range(2)]
        bad = [depot.run(f"b{i}", days_ago=2 + i, state="failed", model=f"bad {i}")["model"] for i in range(2)]
        running = depot.run("now", days_ago=9, state="running", model="running")["model"]
        lost = depot.run("lost", days_ago=90, state="running", model="lost")["model"]
        policy = {"default": {"runs": 1, "states": {"failed": {"days": 2.5}}}}
        depot.prune(**policy)
        depot.prune(**policy)
        assert [depot.here(v) for v in (*good, *bad, running, lost)] == [True, False, True, False, True, False]

    def test_each_pipeline_has_its_own(self, depot: Depot) -> None:
        kept = depot.run("r1", pipeline="churn", days_ago=9, model="a")["model"]
        gone = depot.run("r1", pipeline="fraud", days_ago=9, model="b")["model"]
        policy = {"pipelines": {"fraud": {"runs": 0}}}
        depot.prune(**policy)
        depot.prune(**policy)
        assert (depot.here(kept), depot.here(gone)) == (True, False)

    @pytest.mark.parametrize("wrong", [{"grace_hours": 0}, {"default": {"run": 3}}, {"pipelines": {"a": {"days": -1}}}])
    def test_a_wrong_policy_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ComponentInvalid, match="retention is configured wrongly"):
            RetentionPolicy.of(wrong)


class TestNeeded:
    def test_by_an_alias_an_active_version_and_its_baseline_and_evaluation(self, depot: Depot) -> None:
        made = depot.run("r1", days_ago=9, model="model", baseline="baseline", evaluation="evaluation", other="other")
        depot.model(made["model"], baseline=made["baseline"].ref(), evaluation=made["evaluation"].ref())
        depot.prune()
        assert depot.prune().removed == 1
        assert {name: depot.here(version) for name, version in made.items()} == {
            "model": True, "baseline": True, "evaluation": True, "other": False,
        }  # fmt: skip
        depot.metadata.models.archive("churn", 1, "me")
        depot.prune()
        assert depot.prune().removed == 3

    def test_by_a_deployment_and_its_previous_version(self, depot: Depot) -> None:
        made = [depot.run(f"r{i}", days_ago=9, model=f"model {i}")["model"] for i in range(3)]
        for version in made:
            depot.model(version)
        served = Deployment(name="churn", model="churn", version=3, previous_version=2, phase="ready", flavor="local")
        depot.metadata.deployments.put(served, expected_revision=None)
        for number in (1, 2):
            depot.metadata.models.archive("churn", number, "me")
        depot.prune()
        depot.prune()
        assert [depot.here(version) for version in made] == [False, True, True]
        with pytest.raises(ContentRemoved, match="was removed by a pruner"):
            depot.metadata.deployments.put(
                served.model_copy(update={"version": 1, "previous_version": 3}), expected_revision=1
            )
        depot.metadata.deployments.delete("churn")
        depot.metadata.models.archive("churn", 3, "me")
        depot.prune()
        assert depot.prune().removed == 2

    def test_by_a_kept_run_that_read_it(self, depot: Depot) -> None:
        made = depot.run("old", days_ago=9, rows="rows", model="model")
        start = StepStart(dag_id="score", run_id="new", task_id="score", step="score", pipeline="score")
        reads = [{"name": "rows", "ref": made["rows"].ref()}]
        depot.metadata.runs.finish_step(StepFinish(start=start, state="success", inputs=reads))  # type: ignore[arg-type]
        policy = {"default": {"days": 1}}
        depot.prune(**policy)
        depot.prune(**policy)
        assert (depot.here(made["rows"]), depot.here(made["model"])) == (True, False)

    def test_the_same_bytes_under_another_name(self, depot: Depot) -> None:
        old = depot.run("old", days_ago=9, model="same")["model"]
        new = depot.run("new", days_ago=0, pipeline="other", model="same")["model"]
        assert old.uri == new.uri
        depot.age(new)
        policy = {"default": {"days": 1}}
        depot.prune(**policy)
        assert depot.prune(**policy).removed == 0
        assert depot.here(old)
        depot.prune()
        assert depot.prune().removed == 1  # the last reference is gone

    def test_what_nobody_made_in_a_run(self, depot: Depot) -> None:
        by_hand = depot.metadata.artifacts.record(depot.stored("table", "rows"))
        depot.age(by_hand)
        depot.prune()
        depot.prune()
        assert depot.here(by_hand)

    def test_what_the_metadata_of_something_kept_names(self, depot: Depot) -> None:
        preview = depot.run("old", days_ago=9, preview="first rows")["preview"]
        new = depot.stored("table", "rows").model_copy(update={"metadata": {"shown": {"uri": preview.uri}}})
        depot.metadata.artifacts.record(new)
        depot.prune()
        depot.prune()
        assert depot.here(preview)

    def test_folders_go_with_all_their_files(self, depot: Depot, tmp_path: Path) -> None:
        folder = tmp_path / "checkpoint"
        (folder / "deep").mkdir(parents=True)
        for name in ("a.bin", "deep/b.bin"):
            (folder / name).write_bytes(name.encode())
        made = depot.run("old", days_ago=9, model=folder)["model"]
        assert len(list(depot.store.keys("objects/"))) == 3
        assert depot.prune().orphans == 0
        assert depot.prune().removed == 1
        assert list(depot.store.keys("objects/")) == []
        assert not depot.here(made)


class TestTwoPhases:
    def test_what_is_marked_waits(self, depot: Depot) -> None:
        made = depot.run("old", days_ago=9, model="a")["model"]
        first = depot.prune(DAY)
        assert (first.marked, first.removed) == (1, 0)
        second = depot.prune(DAY)
        assert (second.marked, second.waiting, second.waiting_bytes, second.removed) == (0, 1, made.size, 0)
        assert depot.here(made)

    def test_a_dry_run_changes_nothing_and_says_what_would_happen(self, depot: Depot) -> None:
        made = depot.run("old", days_ago=9, model="a")["model"]
        policy = RetentionPolicy.of({"default": {"runs": 0}})
        for _ in range(3):
            summary = prune(depot.metadata, depot.store, policy, dry_run=True, grace=NO_TIME)
            assert (summary.marked, summary.marked_bytes, summary.removed) == (1, made.size, 0)
        assert depot.metadata.tombstones.totals() == {}
        assert len(depot.metadata.audit.list()) == 0
        depot.prune()
        ready = prune(depot.metadata, depot.store, policy, dry_run=True, grace=NO_TIME)
        assert (ready.removed, ready.removed_bytes) == (1, made.size)
        assert depot.here(made)

    def test_a_reference_made_meanwhile_takes_the_mark_away(self, depot: Depot) -> None:
        made = depot.run("old", days_ago=9, a="a", b="b", c="c")
        depot.prune()
        assert depot.metadata.tombstones.totals()["marked"][0] == 3
        depot.run("new", a="a")  # made again
        depot.model(made["b"])  # registered
        start = StepStart(dag_id="score", run_id="new", task_id="score", step="score", pipeline="score")
        reads = [{"name": "c", "ref": made["c"].ref()}]
        depot.metadata.runs.finish_step(StepFinish(start=start, state="success", inputs=reads))  # type: ignore[arg-type]
        assert depot.metadata.tombstones.totals() == {}
        policy = {"default": {"days": 1}}
        assert depot.prune(**policy).removed == 0
        assert all(depot.here(version) for version in made.values())

    def test_a_policy_that_became_kinder_takes_marks_away(self, depot: Depot) -> None:
        depot.run("old", days_ago=9, model="a")
        depot.prune()
        assert depot.prune(default={}).unmarked == 1
        assert depot.metadata.tombstones.totals() == {}

    def test_content_that_comes_back_is_recorded_again(self, depot: Depot) -> None:
        made = depot.run("old", days_ago=9, model="a")["model"]
        depot.prune()
        depot.prune()
        assert not depot.here(made)
        with pytest.raises(ContentRemoved) as caught:
            depot.run("new", model="a")  # it does not say that it has looked
        assert list(caught.value.removed) == [made.uri]
        again = depot.metadata.artifacts.record(depot.stored("churn.model", "a"), present=caught.value.removed)
        assert (again.id, depot.here(again)) == (made.id, True)
        assert depot.metadata.tombstones.find(made.uri) is None

    def test_content_that_comes_back_unrecorded_is_removed_again(self, depot: Depot) -> None:
        made = depot.run("old", days_ago=9, model="a")["model"]
        depot.prune()
        depot.prune()
        depot.stored("churn.model", "a")  # and its process dies
        assert depot.prune().orphans == 1
        assert depot.prune().removed == 1
        assert not depot.here(made)

    def test_the_audit_says_how_much(self, depot: Depot) -> None:
        depot.run("old", days_ago=9, model="a")
        depot.prune()
        depot.prune()
        removed, marked = depot.metadata.audit.list(subject_kind="artifact_store")
        assert (marked.after or {})["marked"] == 1
        assert (removed.actor, removed.action, (removed.after or {})["removed"]) == ("user:janitor", "prune", 1)
        depot.prune()
        assert len(depot.metadata.audit.list(subject_kind="artifact_store")) == 2  # nothing happened


class TestOrphans:
    def test_blobs_that_no_metadata_know(self, depot: Depot) -> None:
        known = depot.run("r1", model="known")["model"]
        orphan = depot.stored("nowhere", "orphan")
        first = depot.prune(DAY, default={})
        assert (first.orphans, first.marked, first.marked_bytes) == (1, 1, orphan.size)
        assert depot.store.exists(orphan.uri)
        assert depot.prune(default={}).removed == 1
        assert not depot.store.exists(orphan.uri)
        assert depot.here(known)

    def test_a_writer_that_records_an_old_orphan_wins(self, depot: Depot) -> None:
        orphan = depot.stored("churn.model", "orphan")
        depot.prune(default={})
        depot.metadata.artifacts.record(orphan)
        assert depot.prune(default={}).removed == 0
        assert depot.store.exists(orphan.uri)

    def test_a_folder_whose_list_of_files_was_never_written(self, depot: Depot, tmp_path: Path) -> None:
        file = tmp_path / "part"
        file.write_bytes(b"half")
        depot.store.commit(file, "objects/ab/" + "ab" * 32 + "/part.bin")
        depot.prune(default={})
        assert depot.prune(default={}).removed == 1
        assert list(depot.store.keys("objects/")) == []

    def test_other_folders_are_nobodys_business(self, depot: Depot) -> None:
        depot.store.put_bytes("predictions/a.parquet", b"x")
        depot.store.put_bytes("keys/ab/c.json", b"x")
        depot.prune(default={})
        assert depot.prune(default={}).removed == 0

    def test_they_may_be_left_alone(self, depot: Depot) -> None:
        orphan = depot.stored("nowhere", "orphan")
        for _ in range(2):
            assert depot.prune(default={}, orphans=False).removed == 0
        assert depot.store.exists(orphan.uri)

    def test_temporary_files_of_dead_writers(self, depot: Depot, tmp_path: Path) -> None:
        import os

        depot.run("r1", model="a")
        left = tmp_path / "artifacts" / ".staging" / "1-dead"
        left.write_bytes(b"x" * 10)
        assert depot.prune(DAY, default={}).leftovers == 0
        os.utime(left, (0, 0))
        assert depot.prune(DAY, default={}).leftovers == 1
        assert not left.exists()
