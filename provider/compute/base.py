"""Compute: where a step runs (others say "step operator"; operator is Airflow's word)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..component import Component

if TYPE_CHECKING:
    from collections.abc import Mapping

Handle = dict[str, Any]
"""A submitted job: plain JSON that survives the process that submitted it."""

Phase = Literal["pending", "running", "succeeded", "failed", "cancelled", "unknown"]


@dataclass(frozen=True)
class JobState:
    """What became of a job. ``unknown``: the place does not know the job (any more)."""

    phase: Phase
    detail: str = ""

    @property
    def ended(self) -> bool:
        return self.phase not in ("pending", "running")


class Compute(Component):
    """A place for steps to run.

    Under Airflow a step becomes ``operator`` (``module:Class``, a string, so that compiling imports no SDK) with
    :meth:`arguments`. Outside Airflow a job is submitted, looked at and cancelled. A job runs
    ``python -m windsock.provider.runtime.entrypoint URI``; the URI names a ``StepInvocation`` in the artifact store,
    and beside it the job leaves its ``StepResult``, last. ``remote`` says that steps run in another process image,
    which must be able to import them and which has the artifact store only: no metadata database, no Airflow.

    All methods are thread-safe. ``submit`` is not idempotent: a lost answer is found by describing, not by submitting
    again; running the same invocation twice is harmless, because artifacts are content-addressed.
    """

    kind = "compute"
    operator: ClassVar[str]
    remote: ClassVar[bool] = False

    def arguments(self) -> dict[str, Any]:
        """Arguments for ``operator``, plain JSON. They become part of the DAG: no time, no random, no secret."""
        return {}

    @abstractmethod
    def submit(self, uri: str, *, environment: Mapping[str, str], resources: Mapping[str, Any]) -> Handle:
        """Start the job of the invocation at ``uri``. Raises ``StepError`` if the place refuses."""

    @abstractmethod
    def describe(self, handle: Handle) -> JobState:
        """Never raises for a job that is gone: that is ``unknown``."""

    @abstractmethod
    def cancel(self, handle: Handle) -> None:
        """Stop the job. Idempotent; a job that has ended stays as it is."""
