"""A step in a process of its own that has the artifact store and nothing else."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from windsock.provider.compute.base import JobState
from windsock.provider.compute.local import LocalCompute
from windsock.provider.errors import StepFailed
from windsock.provider.metadata.keys import step_run_key
from windsock.provider.runtime.entrypoint import environment, find_result, raise_for, submit
from windsock.provider.runtime.invocation import RunIdentity, StepInvocation
from windsock.provider.runtime.recorder import record_result

if TYPE_CHECKING:
    from windsock.provider.stack import Stack

STEPS = """
    import sys, time
    from windsock.provider.runtime.context import context

    def double(x):
        context().log_metric("seen", x)
        context().log_param("modules", sorted({"airflow", "sqlalchemy"} & set(sys.modules)))
        return x * 2

    def broken():
        raise ValueError("token=hunter2 was refused")

    def slow():
        time.sleep(60)

    def nosy():
        return context().metadata
"""


def invocation(name: str, **arguments: Any) -> StepInvocation:
    return StepInvocation(
        step=name,
        function=f"elsewhere:{name}",
        identity=RunIdentity("remote", "r1", name),
        arguments={k: {"value": v} for k, v in arguments.items()},
        outputs=(("output", None, f"remote.{name}"),),  # type: ignore[arg-type]
        pipeline="remote",
        cache=False,
    )


@pytest.fixture
def compute(stack: Stack, project: Any) -> LocalCompute:
    project.write(elsewhere=STEPS)
    found = stack.compute()
    assert isinstance(found, LocalCompute)
    return found


def start(compute: LocalCompute, stack: Stack, given: StepInvocation, project: Any) -> tuple[str, dict[str, Any]]:
    uri = submit(given, stack.artifact_store)
    options = {"flavor": "local", "path": str(stack.settings.home / "artifacts")}
    variables = {**environment(options), "PYTHONPATH": str(project.root), "WINDSOCK_HOME": "/nonexistent"}
    return uri, compute.submit(uri, environment=variables, resources={})


def wait(compute: LocalCompute, handle: dict[str, Any]) -> JobState:
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        state = compute.describe(handle)
        if state.ended:
            return state
        time.sleep(0.05)
    raise AssertionError("the job does not end")


class TestRemoteStep:
    def test_the_result_is_recorded_by_the_worker(self, compute: LocalCompute, stack: Stack, project: Any) -> None:
        given = invocation("double", x=21)
        uri, handle = start(compute, stack, given, project)
        assert wait(compute, handle) == JobState("succeeded")
        result = find_result(uri, stack.artifact_store)
        assert result is not None
        assert result.outputs["output"]["version"] is None
        assert result.parameters == {"modules": []}
        recorded = record_result(result, stack.metadata, given)
        assert recorded.outputs["output"]["version"] == 1
        assert record_result(result, stack.metadata, given).outputs == recorded.outputs
        step = stack.metadata.runs.step(step_run_key("remote", "r1", "double"))
        assert (step.state, step.metrics, step.parameters["x"]) == ("success", {"seen": 21.0}, 21)
        from windsock.provider.artifacts.saving import load

        assert load(recorded.outputs["output"], stack.artifact_store) == 42

    def test_a_failure_comes_back_without_secrets(self, compute: LocalCompute, stack: Stack, project: Any) -> None:
        given = invocation("broken")
        uri, handle = start(compute, stack, given, project)
        assert wait(compute, handle).phase == "failed"
        result = find_result(uri, stack.artifact_store)
        assert result is not None
        assert (result.state, result.error, result.error_type) == (
            "failed",
            "ValueError: token=*** was refused",
            "ValueError",
        )
        record_result(result, stack.metadata, given)
        assert stack.metadata.runs.step(step_run_key("remote", "r1", "broken")).state == "failed"
        with pytest.raises(StepFailed, match='"broken" failed on remote compute: ValueError'):
            raise_for(result, given)

    def test_there_is_no_metadata_there(self, compute: LocalCompute, stack: Stack, project: Any) -> None:
        uri, handle = start(compute, stack, invocation("nosy"), project)
        wait(compute, handle)
        result = find_result(uri, stack.artifact_store)
        assert result is not None
        assert "NoActiveStep" in str(result.error)

    def test_an_unreadable_invocation_is_exit_code_2(self, compute: LocalCompute, stack: Stack) -> None:
        uri = f"{stack.artifact_store.root}/invocations/none.json"
        handle = compute.submit(uri, environment={}, resources={})
        state = wait(compute, handle)
        assert (state.phase, state.detail.partition(";")[0]) == ("failed", "exit code 2")
        with open(os.path.join(handle["folder"], "log")) as log:
            text = log.read()
        assert "ArtifactNotFound" in text
        assert "Traceback" not in text


class TestJobs:
    def test_a_handle_survives_the_process_that_made_it(
        self, compute: LocalCompute, stack: Stack, project: Any
    ) -> None:
        import json

        _, handle = start(compute, stack, invocation("slow"), project)
        other = LocalCompute.from_mapping({}, compute.context)
        copied = json.loads(json.dumps(handle))
        assert isinstance(other, LocalCompute)
        assert other.describe(copied).phase == "running"
        other.cancel(copied)
        assert wait(compute, handle).phase == "cancelled"
        other.cancel(copied)  # again, and nothing happens

    def test_an_unknown_job(self, compute: LocalCompute) -> None:
        handle = {"pid": 1, "born": "0", "folder": "/nonexistent/job"}
        assert compute.describe(handle).phase == "unknown"
