"""The two doors of the runtime: ``run_step`` for an Airflow task, ``run_pipeline`` for a whole pipeline in process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from ..metadata.store import Metadata
    from ..settings import Settings
    from ..stack import Stack
    from .invocation import StepInvocation, StepResult
    from .local import Progress, RunResult


def run_step(
    invocation: StepInvocation,
    *,
    stack: Stack,
    register: Callable[[Metadata], int | None] | None = None,
    logger: logging.Logger | None = None,
    function: Any = None,
) -> StepResult:
    """Run one step and return references to its outputs.

    ``register`` gives the number of the pipeline version when ``invocation.pipeline_version`` is None; it is asked when
    the step is recorded. ``function`` is used instead of importing ``invocation.function`` (a step that only exists in
    this process). Raises what the step raises, unchanged; ``OutputMismatch``; what loading and saving artifacts raise;
    ``MetadataUnavailable`` when the database stays away and the spool is off (see ``spool.py``).
    """
    from .execution import Execution
    from .recorder import recorder_for

    return Execution(
        invocation=invocation,
        store=stack.artifact_store,
        recorder=recorder_for(stack, register),
        stack=stack,
        use_cache=stack.settings.step_cache,
        logger=logger,
        function=function,
    ).run()


def run_pipeline(
    pipeline: Any,
    parameters: Mapping[str, Any] | None = None,
    *,
    stack: Stack | str | None = None,
    settings: Settings | None = None,
    progress: Progress | bool | None = None,
) -> RunResult:
    """Run a whole pipeline in this process, without a scheduler. See ``local.py``."""
    from .local import run_pipeline as run

    return run(pipeline, parameters, stack=stack, settings=settings, progress=progress)
