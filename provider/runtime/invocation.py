"""What crosses the border of a process when a step runs: who runs, what, and what came out.

All three are plain frozen data with an exact JSON round trip: an Airflow worker, a Kubernetes pod and
``pipeline.run()`` read the same thing. They hold references to artifacts, never values, and no credentials: a stack is
named, not described. Standard library only, because an operator imports this when a DAG file is parsed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Ref = dict[str, Any]
"""``{"artifact", "version", "uri", "digest", "type"}``, what an XCom carries; no version before it is recorded."""

Bound = dict[str, Any]
"""An argument to be loaded: ``{"value": json}``, ``{"artifact": Ref, "path": [keys…]}`` or ``{"list": [Bound…]}``."""

State = Literal["success", "cached", "failed", "skipped"]
RESULT_SUFFIX = ".result.json"


@dataclass(frozen=True)
class RunIdentity:
    """Airflow's identity of a task instance; the same five values identify a step that runs in process."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1


class OutputTarget(NamedTuple):
    """One output of a step: its name, the type that was declared (None: unknown) and the artifact it becomes."""

    name: str
    type: str | None
    artifact: str


class Metric(NamedTuple):
    """One logged point. ``step`` is the iteration (None: a single value), ``at`` seconds since the epoch."""

    key: str
    value: float
    step: int | None
    at: float


@dataclass(frozen=True)
class StepInvocation:
    """Everything that a process needs to run one step, except the stack.

    ``function`` is ``"module:qualname"`` of a function, a ``Step`` or a ``Component`` class with ``run`` (then
    ``config`` is its configuration). ``run_parameters``, ``reason`` and ``triggered_by`` belong to the run and are
    recorded with it.
    """

    step: str
    function: str
    identity: RunIdentity
    arguments: dict[str, Bound] = field(default_factory=dict)
    outputs: tuple[OutputTarget, ...] = ()
    pipeline: str | None = None
    pipeline_digest: str | None = None
    pipeline_version: int | None = None
    cache: bool = True
    allow_pickle: bool = False
    stack: str = "local"
    run_parameters: dict[str, Any] = field(default_factory=dict)
    reason: dict[str, Any] | None = None
    triggered_by: str | None = None
    config: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", tuple(OutputTarget(*output) for output in self.outputs))

    def to_dict(self) -> dict[str, Any]:
        data = dict(self.__dict__)
        data["identity"] = asdict(self.identity)
        data["outputs"] = [list(output) for output in self.outputs]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StepInvocation:
        return cls(**{**data, "identity": RunIdentity(**data["identity"])})

    def to_json(self) -> str:
        """One line, keys sorted. Raises ``TypeError`` if a value is not JSON."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> StepInvocation:
        return cls.from_dict(json.loads(text))


@dataclass(frozen=True)
class StepResult:
    """What a step left behind.

    ``outputs`` are the declared outputs; ``artifacts`` are the full records of everything stored (outputs and figures),
    which a remote step hands to the worker that records them. ``metrics`` holds the latest value of each key,
    ``points`` every one. ``error`` is one line, without a traceback and without secrets.
    """

    outputs: dict[str, Ref] = field(default_factory=dict)
    state: State = "success"
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    points: tuple[Metric, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: tuple[dict[str, Any], ...] = ()
    cache_key: str | None = None
    cached_from: str | None = None
    error: str | None = None
    error_type: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple(Metric(*point) for point in self.points))
        object.__setattr__(self, "artifacts", tuple(self.artifacts))

    def with_outputs(self, outputs: Mapping[str, Ref]) -> StepResult:
        return replace(self, outputs=dict(outputs))

    def to_json(self) -> str:
        data = dict(self.__dict__)
        data["points"] = [list(point) for point in self.points]
        data["artifacts"] = list(self.artifacts)
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> StepResult:
        return cls(**json.loads(text))
