"""``windsock artifact prune``: by the stack's policy or by options, dry and for real."""

from __future__ import annotations

import pytest
from windsock.provider.artifacts.saving import save
from windsock.provider.metadata import NewArtifact, StepFinish, StepStart
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack


@pytest.fixture
def stack(home):
    return Stack.load("local", settings=Settings.load())


def run(stack, number):
    start = StepStart(dag_id="churn", run_id=f"r{number}", task_id="train", step="train", pipeline="churn")
    made = save({"number": number}, stack.artifact_store)
    fields = {name: getattr(made, name) for name in ("uri", "digest", "size", "type", "materializer")}
    new = NewArtifact(artifact="churn.model", **fields)
    version = stack.metadata.runs.finish_step(StepFinish(start=start, state="success", outputs=[new]))["output"]
    stack.metadata.runs.end("churn", f"r{number}", "success")
    return version


def later(stack, hours=25):
    """As if all of it had happened so long ago."""
    from datetime import timedelta

    from sqlalchemy import update
    from windsock.provider.metadata import schema
    from windsock.provider.metadata.records import now

    with stack.metadata.transaction() as connection:
        at = now() - timedelta(hours=hours)
        connection.execute(update(schema.artifact_version).values(created_at=at))
        connection.execute(update(schema.tombstone).values(since=at))


class TestPrune:
    def test_without_a_policy_it_says_what_to_do(self, windsock, stack):
        run(stack, 1)
        later(stack)
        assert "add `retention:` to its file" in windsock("artifact", "prune").out

    def test_by_options_in_two_phases(self, windsock, stack):
        versions = [run(stack, number) for number in range(3)]
        later(stack)
        words = ("artifact", "prune", "--keep-runs", "1")
        dry = windsock(*words, "--dry-run", "--output", "json").json
        assert (dry["dry_run"], dry["marked"], dry["removed"]) == (True, 2, 0)
        first = windsock(*words)
        assert "marked    2 (" in first.out
        assert "removed by a prune in 24 h or later" in first.out
        assert "to be removed" in windsock("artifact", "show", "churn.model@1").out
        later(stack)
        second = windsock(*words, "--reason", "the disk is full", "--output", "json").json
        assert (second["removed"], second["removed_bytes"]) == (2, sum(v.size for v in versions[:2]))
        assert [stack.artifact_store.exists(v.uri) for v in versions] == [False, False, True]
        assert "removed at" in windsock("artifact", "show", "churn.model@1").out
        missing = windsock("artifact", "get", "churn.model@1")
        assert missing.code == 1
        assert "ArtifactNotFound" in missing.err
        event, _ = windsock("audit", "list", "--kind", "artifact_store", "--output", "json").json
        assert (event["actor"], event["reason"]) == ("user:tester", "the disk is full")
        assert event["after"]["removed_bytes"] == second["removed_bytes"]

    def test_by_the_stack_and_only_one_pipeline(self, windsock, stack, home):
        run(stack, 1)
        later(stack)
        file = home / "stacks" / "tidy.yaml"
        file.parent.mkdir()
        file.write_text("retention: {pipelines: {churn: {runs: 0}}}\n")
        assert windsock("artifact", "prune", "--stack", "tidy", "--dry-run", "--output", "json").json["marked"] == 1
        other = ("artifact", "prune", "--pipeline", "fraud", "--keep-runs", "0", "--dry-run", "--output", "json")
        assert windsock(*other).json["marked"] == 0
        assert windsock("artifact", "prune", "--pipeline", "fraud").code == 2
        assert windsock("stack", "show", "tidy").code == 0

    def test_a_wrong_policy_is_named_with_its_line(self, windsock, home):
        file = home / "stacks" / "tidy.yaml"
        file.parent.mkdir(parents=True)
        file.write_text("artifact_store: local\nretention:\n  default:\n    rums: 3\n")
        wrong = windsock("artifact", "prune", "--stack", "tidy")
        assert wrong.code == 1
        assert "tidy.yaml, line 4" in wrong.err
        assert '"default.rums" is not an option' in wrong.err
        file.write_text("retention: 3\n")
        assert "tidy.yaml, line 1" in windsock("artifact", "prune", "--stack", "tidy").err
