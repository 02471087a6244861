"""A pruner that is killed in the middle, and a step that meets one at work."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from retention_lab import Depot
from sqlalchemy import update
from windsock.provider.errors import ContentRemoved
from windsock.provider.metadata import schema
from windsock.provider.metadata.records import now
from windsock.provider.retention.prune import LEASE
from windsock.provider.runtime.execution import Execution
from windsock.provider.runtime.invocation import OutputTarget, RunIdentity, StepInvocation
from windsock.provider.runtime.recorder import MetadataRecorder

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import sys
from datetime import timedelta
from pathlib import Path
from windsock.provider.artifacts.stores.local import LocalArtifactStore
from windsock.provider.metadata import Metadata
from windsock.provider.retention.policy import RetentionPolicy
from windsock.provider.retention.prune import prune
store = LocalArtifactStore.from_mapping({"path": Path(sys.argv[2])})
policy = RetentionPolicy.of({"default": {"runs": 0}})
prune(Metadata.open(sys.argv[1]), store, policy, grace=timedelta(0))
"""


def killed_at(point: str, url: str, folder: Path) -> None:
    environ = {**os.environ, "WINDSOCK_FAULT_POINT": point}
    done = subprocess.run([sys.executable, "-c", SCRIPT, url, str(folder)], env=environ, check=False)
    assert done.returncode == -9


def much_later(depot: Depot) -> None:
    with depot.metadata.transaction() as connection:
        connection.execute(update(schema.tombstone).values(since=now() - 2 * LEASE))


class TestKilledPruner:
    @pytest.mark.parametrize(("point", "still_there"), [("retention.claimed", True), ("retention.deleted", False)])
    def test_the_next_one_goes_on_when_the_lease_is_over(
        self, depot: Depot, url: str, tmp_path: Path, point: str, still_there: bool
    ) -> None:
        made = depot.run("old", days_ago=9, model="a")["model"]
        depot.prune()
        killed_at(point, url, tmp_path / "artifacts")
        stone = depot.metadata.tombstones.find(made.uri)
        assert stone is not None
        assert (stone.state, depot.here(made)) == ("removing", still_there)
        assert depot.prune().removed == 0  # it could be at work still
        with pytest.raises(ContentRemoved, match="is being removed") as caught:
            depot.run("new", model="a")
        assert caught.value.removing == [made.uri]
        depot.store.delete(made.uri)
        much_later(depot)
        assert depot.prune().removed == 1
        assert not depot.here(made)
        again = depot.stored("churn.model", "a")
        stone = depot.metadata.tombstones.find(made.uri)
        assert stone is not None
        assert depot.metadata.artifacts.record(again, present={made.uri: stone.since.isoformat()}).id == made.id
        assert depot.here(made)

    def test_what_was_removed_twice_is_not_there_because_it_was_stored_once(self, depot: Depot) -> None:
        """Stored again, then removed once more before it was recorded: what the writer knows is out of date."""
        made = depot.run("old", days_ago=9, model="a")["model"]
        depot.prune()
        depot.prune()
        with pytest.raises(ContentRemoved) as caught:
            depot.metadata.artifacts.record(depot.stored("churn.model", "a").model_copy())
        for _ in range(2):
            depot.prune()  # an orphan by now: marked, then removed
        with pytest.raises(ContentRemoved) as second:
            depot.metadata.artifacts.record(
                depot.stored("churn.model", "b").model_copy(update={"uri": made.uri, "digest": made.digest}),
                present=caught.value.removed,
            )
        assert second.value.removed[made.uri] > caught.value.removed[made.uri]


class TestStepMeetsAPruner:
    def test_it_waits_and_stores_again(self, depot: Depot) -> None:
        value = {"number": 7}
        made = depot.run("old", days_ago=9, model=value)["model"]
        depot.prune()
        (claimed,) = depot.metadata.tombstones.claim([made.uri], "pruner", marked_before=now() + timedelta(1))

        def finish() -> None:
            time.sleep(0.5)
            depot.store.delete(claimed.place)
            depot.metadata.tombstones.removed([claimed.place], "pruner")

        pruner = threading.Thread(target=finish)
        pruner.start()
        invocation = StepInvocation(
            step="train",
            function="retention_lab:same",
            identity=RunIdentity("churn", "new", "train"),
            arguments={"value": {"value": value}},
            outputs=(OutputTarget("model", None, "churn.model"),),
            pipeline="churn",
        )
        execution = Execution(invocation, depot.store, MetadataRecorder(lambda: depot.metadata))
        result = execution.run()
        pruner.join()
        assert list(execution.present) == [made.uri]
        assert result.outputs["model"]["version"] == made.version
        assert depot.here(made)
        assert depot.metadata.tombstones.totals() == {}

    def test_a_cached_step_whose_content_is_gone_runs_again(self, depot: Depot) -> None:
        invocation = StepInvocation(
            step="train",
            function="retention_lab:same",
            identity=RunIdentity("churn", "r1", "train"),
            arguments={"value": {"value": {"number": 8}}},
            outputs=(OutputTarget("model", None, "churn.model"),),
            pipeline="churn",
        )

        def run(name: str) -> str:
            from dataclasses import replace

            again = replace(invocation, identity=RunIdentity("churn", name, "train"))
            done = Execution(again, depot.store, MetadataRecorder(lambda: depot.metadata)).run()
            depot.metadata.runs.end("churn", name, "success")
            return done.state

        assert [run("r1"), run("r2")] == ["success", "cached"]
        policy = {"default": {"runs": 0}}
        depot.age(depot.metadata.artifacts.get("churn.model"))
        depot.prune(**policy)
        assert depot.prune(**policy).removed == 1
        assert [run("r3"), run("r4")] == ["success", "cached"]
        assert depot.here(depot.metadata.artifacts.get("churn.model"))
