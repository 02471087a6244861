"""Two and more processes at once, on both databases: nothing doubled, nothing lost, never "database is locked"."""

from __future__ import annotations

import os
import threading
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
import racers
from metadata_lab import new_artifact
from windsock.provider.errors import Conflict
from windsock.provider.metadata import Deployment, Metadata, NewDriftReport, StepFinish, migrate

if TYPE_CHECKING:
    from metadata_lab import Lab

TIMES = 200


class TestTwoProcesses:
    def test_register_versions_without_gap_or_double(self, url: str, metadata: Metadata) -> None:
        artifact = metadata.artifacts.record(new_artifact("churn.model")).ref()
        got = racers.at_once(racers.register, [(url, who, TIMES, artifact) for who in ("a", "b")])
        assert sorted(got[0] + got[1]) == list(range(1, 2 * TIMES + 1))
        assert metadata.models.get("churn").version == 2 * TIMES

    def test_the_same_sources_are_registered_once(self, url: str, metadata: Metadata) -> None:
        artifact = metadata.artifacts.record(new_artifact("churn.model")).ref()
        got = racers.at_once(racers.register, [(url, "same", 50, artifact)] * 2)
        assert got[0] == got[1] == list(range(1, 51))

    def test_promote_without_a_lost_update(self, url: str, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        lab.model()
        racers.at_once(racers.promote, [(url, who, TIMES) for who in ("a", "b")])
        events = metadata.models.since("churn", "production")
        # Each move starts where the one before ended, and all of them are there.
        assert len(events) == 2 * TIMES
        assert metadata.models.aliases("churn")["production"].revision == 2 * TIMES
        assert [e.from_version for e in events[1:]] == [e.to_version for e in events[:-1]]
        assert {e.actor for e in events} == {"a", "b"}
        assert len({e.run for e in events}) == 2 * TIMES

    def test_each_report_is_claimed_by_one(self, url: str, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        reports = [record(metadata, i) for i in range(TIMES)]
        got = racers.at_once(racers.claim, [(url, who, reports) for who in ("a", "b")])
        assert sorted(got[0] + got[1]) == reports

    def test_one_claim_in_a_cooldown(self, url: str, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        reports = [record(metadata, i) for i in range(50)]
        assert sum(racers.at_once(racers.claim_in_cooldown, [(url, reports)] * 2)) == 1

    def test_versions_of_one_artifact(self, url: str, metadata: Metadata) -> None:
        got = racers.at_once(racers.finish_steps, [(url, who, TIMES, False) for who in ("a", "b")])
        assert sorted(got[0] + got[1]) == list(range(1, 2 * TIMES + 1))
        assert [v.version for v in metadata.artifacts.list("churn.score", limit=1000)] == list(range(2 * TIMES, 0, -1))

    def test_the_same_contents_are_the_same_versions(self, url: str, metadata: Metadata) -> None:
        got = racers.at_once(racers.finish_steps, [(url, who, 100, True) for who in ("a", "b")])
        assert got[0] == got[1]
        assert len(metadata.artifacts.list("churn.score", limit=1000)) == 100

    def test_pipeline_versions(self, url: str, metadata: Metadata) -> None:
        got = racers.at_once(racers.register_pipelines, [(url, 60)] * 2)
        assert got[0] == got[1]
        assert sorted(got[0]) == list(range(1, 61))

    def test_a_sensor_misses_no_event(self, url: str, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        lab.model()
        wanted = 2 * 100
        found: list[list[int]] = []
        reader = threading.Thread(target=lambda: found.append(racers.follow_aliases(url, wanted, 120)))
        reader.start()
        racers.at_once(racers.promote, [(url, who, 100) for who in ("a", "b")])
        reader.join()
        assert found == [[event.id for event in metadata.models.since("churn")]]


class TestFiftySteps:
    def test_end_at_once_in_threads(self, metadata: Metadata, lab: Lab) -> None:
        starts = [lab.start("score", map_index=i) for i in range(50)]
        errors: list[Exception] = []

        def finish(i: int) -> None:
            try:
                done = StepFinish(start=starts[i], state="success", outputs=[new_artifact("churn.score", f"c{i}")])
                metadata.runs.finish_step(done)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=finish, args=(i,)) for i in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert {step.state for step in metadata.runs.steps(starts[0].run_key)} == {"success"}
        assert [v.version for v in metadata.artifacts.versions("churn.score")] == list(range(50, 0, -1))

    def test_end_at_once_in_processes_that_forked(self, metadata: Metadata, lab: Lab) -> None:
        """Each child uses the parent's ``Metadata``, as Airflow's LocalExecutor and its tasks may."""
        starts = [lab.start("score", map_index=i) for i in range(50)]
        children = []
        for i, start in enumerate(starts):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    done = StepFinish(start=start, state="success", outputs=[new_artifact("churn.score", f"c{i}")])
                    metadata.runs.finish_step(done)
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 50
        assert metadata.artifacts.get("churn.score").version == 50
        assert metadata.runs.get("churn", "r1").state == "running"


class TestCompareAndSet:
    def test_a_deployment_is_changed_by_one_of_two(self, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        first = metadata.deployments.put(deployment(), expected_revision=None, actor="a")
        metadata.deployments.put(first, expected_revision=first.revision, actor="b")
        with pytest.raises(Conflict, match="expected at revision 1; it is at revision 2"):
            metadata.deployments.put(first, expected_revision=first.revision, actor="c")
        assert [event.actor for event in metadata.deployments.history("churn")] == ["b", "a"]

    def test_a_deployment_is_created_by_one_of_many(self, url: str, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        won: list[int] = []
        threads = [threading.Thread(target=lambda: won.append(create(metadata))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(won) == 1
        assert len(metadata.deployments.history("churn")) == 1


class TestMigration:
    def test_upgrade_while_others_read(self, url: str, metadata: Metadata) -> None:
        assert migrate.upgrade(url) == migrate.check(url).head
        assert metadata.models.list().items == ()


def record(metadata: Metadata, hour: int) -> int:
    start = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(hours=hour)
    new = NewDriftReport(model="churn", version=1, window_start=start, rows=10, drifted=True, drift_share=0.5)
    return metadata.drift.record(new).id


def deployment() -> Deployment:
    return Deployment(name="churn", model="churn", version=1, phase="ready", flavor="local")


def create(metadata: Metadata) -> int:
    try:
        metadata.deployments.put(deployment(), expected_revision=None)
    except Conflict:
        return 0
    return 1
