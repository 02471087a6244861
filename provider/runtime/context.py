"""``windsock.context()``: what a step may know about itself, and where it logs metrics.

One context variable, set by the runner around the call of the step and by nobody else. Metrics and parameters are
buffered and written with the transaction that ends the step, so that logging costs an append. A step that fails keeps
what it logged.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import DuplicateName, NoActiveStep
from ..names import check_name
from .invocation import Metric

if TYPE_CHECKING:
    import logging

    from ..artifacts.saving import StoredArtifact
    from ..artifacts.store import ArtifactStore
    from ..metadata.store import Metadata
    from ..stack import Stack
    from .invocation import RunIdentity, StepInvocation

T = TypeVar("T")

_CURRENT: ContextVar[StepContext] = ContextVar("windsock_step")
_LOG_EVERY_SECONDS = 10.0


@dataclass
class StepContext:
    """The running step. The step's own threads may use it; ``contextvars.copy_context().run`` carries it there."""

    invocation: StepInvocation
    logger: logging.Logger
    artifact_store: ArtifactStore
    _stack: Stack | None = None
    _points: list[Metric] = field(default_factory=list)
    _parameters: dict[str, Any] = field(default_factory=dict)
    _figures: dict[str, StoredArtifact] = field(default_factory=dict)

    @property
    def run(self) -> RunIdentity:
        """``dag_id, run_id, task_id, map_index, try_number``."""
        return self.invocation.identity

    @property
    def step(self) -> str:
        return self.invocation.step

    @property
    def pipeline(self) -> str | None:
        return self.invocation.pipeline

    @property
    def stack(self) -> Stack:
        """Raises ``NoActiveStep`` on remote compute: a process there has the artifact store and nothing else."""
        if self._stack is None:
            raise NoActiveStep(
                f'Step "{self.step}" runs on remote compute and has no stack there, only context().artifact_store.',
                hint='Run the step on compute "local" if it needs the metadata or another component.',
            )
        return self._stack

    @property
    def metadata(self) -> Metadata:
        return self.stack.metadata

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        """Log one number; with ``step`` (an iteration, an epoch) one point of a curve. NaN and infinity are allowed."""
        self._points.append(Metric(str(key), float(value), None if step is None else int(step), time.time()))

    def log_metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        for key, value in values.items():
            self.log_metric(key, value, step)

    def log_param(self, key: str, value: Any) -> None:
        """Note a value that the step chose itself; anything that is not JSON is noted as its ``str``."""
        plain = isinstance(value, str | int | float | bool | list | dict | type(None))
        self._parameters[str(key)] = value if plain else str(value)

    def log_figure(self, figure: Any, name: str) -> None:
        """Store a Matplotlib figure (or anything that a materializer knows) as an artifact of this step run."""
        check_name("figure", name)
        if name in self._figures or any(output.name == name for output in self.invocation.outputs):
            raise DuplicateName(f'Step "{self.step}" already has an output or a figure "{name}".', name=name)
        from ..artifacts.saving import save

        self._figures[name] = save(figure, self.artifact_store, allow_pickle=False)

    def progress(self, iterable: Iterable[T], total: int | None = None, description: str | None = None) -> Iterator[T]:
        """Iterate and show how far it is: a bar in a terminal, a log line every ten seconds elsewhere."""
        if total is None and isinstance(iterable, Sized):
            total = len(iterable)
        label = description or self.step
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import track

            return iter(track(iterable, description=label, total=total, console=Console(stderr=True)))
        return self._logged(iterable, total, label)

    def _logged(self, iterable: Iterable[T], total: int | None, label: str) -> Iterator[T]:
        due = time.monotonic() + _LOG_EVERY_SECONDS
        count = 0
        for count, item in enumerate(iterable, start=1):
            yield item
            if time.monotonic() >= due:
                due = time.monotonic() + _LOG_EVERY_SECONDS
                share = f" of {total} ({count / total:.0%})" if total else ""
                self.logger.info("%s: %d%s", label, count, share)
        self.logger.info("%s: %d done", label, count)

    def latest_metrics(self) -> dict[str, float]:
        return {point.key: point.value for point in self._points if math.isfinite(point.value)}


def context() -> StepContext:
    """The context of the step that is running here. Raises ``NoActiveStep`` anywhere else."""
    try:
        return _CURRENT.get()
    except LookupError:
        raise NoActiveStep(
            "windsock.context() was called outside a running step.",
            hint="Call it inside a @step function; a thread of yours needs contextvars.copy_context().run(...).",
        ) from None


@contextmanager
def entered(current: StepContext) -> Iterator[StepContext]:
    token = _CURRENT.set(current)
    try:
        yield current
    finally:
        _CURRENT.reset(token)
