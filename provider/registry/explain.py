"""Why is version 7 in production? The answer, from the alias history, the runs and the lineage.

Nothing is stored for it: it is read from what promotion and registration recorded, so it cannot be out of date.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..errors import RecordNotFound
from .gates import GateOutcome

if TYPE_CHECKING:
    from datetime import datetime

    from ..metadata import LineageGraph, Metadata, ModelVersion
    from .models import ModelRegistry


@dataclass(frozen=True)
class RunFacts:
    """A run that had a part in it, and the step of it if one is known."""

    dag_id: str
    run_id: str
    step: str | None = None
    pipeline: str | None = None
    pipeline_version: int | None = None
    triggered_by: str | None = None
    reason: dict[str, Any] | None = None
    started_at: datetime | None = None


@dataclass(frozen=True)
class DataFacts:
    """One artifact that the version goes back to.

    ``role``: ``source`` when the step that made it read no other artifact (where data enter), ``evaluation``,
    ``baseline``, else ``derived``.
    """

    artifact: str
    version: int
    digest: str | None
    uri: str | None
    role: str


@dataclass(frozen=True)
class Explanation:
    """Who made ``version`` hold ``alias``, when, instead of which, past which gates; and where it comes from."""

    model: str
    alias: str
    version: int
    since: datetime | None
    actor: str | None
    reason: str | None
    previous: int | None
    gates: tuple[GateOutcome, ...]
    promoted_in: RunFacts | None
    registered_at: datetime
    registered_by: str | None
    made_in: RunFacts | None
    metrics: dict[str, float]
    data: tuple[DataFacts, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON: times in ISO 8601."""
        form: dict[str, Any] = _json(asdict(self))
        return {**form, "gates": [gate.to_dict() for gate in self.gates], "sentence": str(self)}

    def __str__(self) -> str:
        return " ".join(part for part in (self._who(), self._gates(), self._origin(), self._data()) if part)

    def _who(self) -> str:
        text = f'Version {self.version} of "{self.model}" is {self.alias}'
        if self.since is None:
            return text + "."
        text += f" since {_time(self.since)}: {self.actor} put it there"
        text += f" instead of version {self.previous}" if self.previous is not None else " as the first"
        if self.promoted_in:
            text += f", in run {_run(self.promoted_in)}"
        return text + (f" ({self.reason})." if self.reason else ".")

    def _gates(self) -> str:
        if not self.gates:
            return "No gate was asked." if self.since else ""
        passed = "It passed" if all(gate.passed for gate in self.gates) else "Gates said"
        return f"{passed}: " + "; ".join(gate.detail for gate in self.gates) + "."

    def _origin(self) -> str:
        made = f"by {self.registered_by} " if self.registered_by else ""
        text = f"It was registered {made}at {_time(self.registered_at)}"
        if self.made_in is not None:
            text += f" in run {_run(self.made_in)}"
            if self.made_in.step:
                text += f", step {self.made_in.step}"
            if self.made_in.pipeline:
                number = f" version {self.made_in.pipeline_version}" if self.made_in.pipeline_version else ""
                text += f" of pipeline {self.made_in.pipeline}{number}"
            if self.made_in.reason:
                text += f" (why it ran: {', '.join(f'{k} {v}' for k, v in self.made_in.reason.items())})"
        if self.metrics:
            text += ", with " + ", ".join(f"{name} {value:.4g}" for name, value in sorted(self.metrics.items()))
        return text + "."

    def _data(self) -> str:
        sources = [item for item in self.data if item.role == "source"]
        if not sources:
            return ""
        return "Its data: " + ", ".join(f"{i.artifact}@{i.version} ({_short(i.digest)})" for i in sources) + "."


def explain(registry: ModelRegistry, model: str, alias: str, metadata: Metadata | None) -> Explanation:
    """Gather it. Without ``metadata`` (another flavor, alone) the runs and the data stay unknown."""
    version = registry.get(model, alias=alias)
    event = registry.last_move(model, alias, version.version)
    graph = metadata.lineage.graph(f"model:{model}@{version.version}", direction="up") if metadata else None
    return Explanation(
        model=model,
        alias=alias,
        version=version.version,
        since=event.at if event else None,
        actor=event.actor if event else None,
        reason=event.reason if event else None,
        previous=event.from_version if event else None,
        gates=tuple(GateOutcome.from_dict(form) for form in event.gates) if event else (),
        promoted_in=_facts(metadata, event.run, None) if event else None,
        registered_at=version.created_at,
        registered_by=version.created_by,
        made_in=_facts(metadata, version.run, version.step_run),
        metrics=dict(version.metrics),
        data=_ancestors(graph, version) if graph else (),
    )


def _facts(metadata: Metadata | None, run_key: str | None, step_run: str | None) -> RunFacts | None:
    if metadata is None or run_key is None:
        return None
    try:
        run = metadata.runs.get_by_key(run_key)
        step = metadata.runs.step(step_run).step if step_run else None
    except RecordNotFound:
        return None
    return RunFacts(
        dag_id=run.dag_id,
        run_id=run.run_id,
        step=step,
        pipeline=run.pipeline,
        pipeline_version=run.pipeline_version,
        triggered_by=run.triggered_by,
        reason=run.reason,
        started_at=run.started_at,
    )


def _ancestors(graph: LineageGraph, version: ModelVersion) -> tuple[DataFacts, ...]:
    """Every artifact upstream but the model's own, sources first."""
    into: dict[str, list[str]] = {}
    for edge in graph.edges:
        into.setdefault(edge.target, []).append(edge.source)
    marked = {
        _node(ref): role for role, ref in (("baseline", version.baseline), ("evaluation", version.evaluation)) if ref
    }
    found = []
    for node in graph.nodes:
        if node.kind != "artifact" or node.id == _node(version.artifact):
            continue
        makers = into.get(node.id, [])
        fed = any(source.startswith("artifact:") for maker in makers for source in into.get(maker, []))
        name, _, number = node.id.removeprefix("artifact:").rpartition("@")
        role = marked.get(node.id) or ("derived" if fed else "source")
        found.append(DataFacts(name, int(number), node.facts.get("digest"), node.facts.get("uri"), role))
    return tuple(sorted(found, key=lambda item: (item.role != "source", item.artifact, item.version)))


def _node(ref: Any) -> str:
    return f"artifact:{ref['artifact']}@{ref['version']}"


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _run(facts: RunFacts) -> str:
    return f"{facts.dag_id}/{facts.run_id}"


def _short(digest: str | None) -> str:
    kind, _, digits = (digest or "unknown").rpartition(":")
    return f"{kind}:{digits[:12]}" if kind else digits[:12]
