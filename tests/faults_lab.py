"""Steps that the tests of faults run, and what must hold afterwards."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from windsock.provider.artifacts.digests import digest_bytes
from windsock.provider.runtime.context import context
from windsock.provider.runtime.invocation import OutputTarget, RunIdentity, StepInvocation, StepResult
from windsock.provider.runtime.runner import run_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from windsock.provider.metadata import Metadata
    from windsock.provider.stack import Stack


def load(seed: int, meanwhile: Callable[[], Any] | None = None) -> list[int]:
    context().log_metric("seed", seed)
    return [seed, seed + 1]


def add(rows: list[int]) -> int:
    return sum(rows)


def invoke(step: str, run: str = "r1", try_number: int = 1, *, cache: bool = False, **arguments: Any) -> StepInvocation:
    """The invocation of ``load`` or ``add``. An argument that is a reference is one; anything else is a value."""
    bound = {
        name: {"artifact": value, "path": []} if isinstance(value, dict) else {"value": value}
        for name, value in arguments.items()
    }
    return StepInvocation(
        step=step,
        function=f"{__name__}:{step}",
        identity=RunIdentity("shop", run, step, -1, try_number),
        arguments=bound,
        outputs=(OutputTarget("output", None, f"shop.{step}"),),
        pipeline="shop",
        cache=cache,
    )


def run(stack: Stack, step: str, *args: Any, function: Any = None, **arguments: Any) -> StepResult:
    return run_step(invoke(step, *args, **arguments), stack=stack, function=function)


def nothing_is_torn(stack: Stack, metadata: Metadata) -> None:
    """Every recorded version is in the store, whole; numbers have no gap; a content has one number; every step that
    succeeded has its outputs."""
    versions = [*metadata.artifacts.list(limit=10_000)]
    for version in versions:
        assert digest_bytes(stack.artifact_store.get_bytes(version.uri)) == version.digest
    for name, count in Counter(version.artifact for version in versions).items():
        assert sorted(v.version for v in versions if v.artifact == name) == list(range(1, count + 1))
    assert len({(v.artifact, v.digest) for v in versions}) == len(versions)
    for found in metadata.runs.list(limit=1000):
        for step in metadata.runs.steps(found.id):
            made = metadata.runs.outputs(step.id)
            assert bool(made) == (step.state in {"success", "cached"}), step
            assert [p.key for p in metadata.runs.metrics(step.id)] == (["seed"] if step.step == "load" and made else [])
