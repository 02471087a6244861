"""Run one step: resolve its arguments, look in the cache, run it, store and record what came out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .invocation import StepInvocation, StepResult

if TYPE_CHECKING:
    from ..metadata.metadata import Metadata
    from ..stack import Stack


def run_step(
    invocation: StepInvocation,
    *,
    stack: Stack,
    register: Callable[[Metadata], int | None] | None = None,
    logger: logging.Logger | None = None,
) -> StepResult:
    """Run one step and return references to its outputs.

    ``register`` gives the number of the pipeline version when ``invocation.pipeline_version`` is None; it is asked once
    per process and pipeline digest, just before the step is recorded as started.
    """
    raise NotImplementedError


def run_pipeline(
    pipeline: Any,
    parameters: dict[str, Any] | None = None,
    *,
    stack: Stack | str | None = None,
    settings: Any = None,
    progress: Any = None,
) -> Any:
    """Run a whole pipeline in this process, without a scheduler."""
    from .local import run_pipeline as run

    return run(pipeline, parameters, stack=stack, settings=settings, progress=progress)
