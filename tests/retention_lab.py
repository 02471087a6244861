"""Writes runs with real content to a store and a database, at any time of the past."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import update
from windsock.provider.artifacts.saving import save
from windsock.provider.metadata import Metadata, NewArtifact, NewModelVersion, StepFinish, StepStart, schema
from windsock.provider.retention.policy import RetentionPolicy
from windsock.provider.retention.prune import PruneSummary, prune

if TYPE_CHECKING:
    from windsock.provider.artifacts.store import ArtifactStore
    from windsock.provider.metadata import ArtifactVersion

NO_TIME = timedelta(0)


class Depot:
    """``depot.run("r1", model="…")``: a run of the pipeline churn, of one step, that makes these texts."""

    def __init__(self, metadata: Metadata, store: ArtifactStore) -> None:
        self.metadata = metadata
        self.store = store

    def run(
        self, run: str = "r1", *, days_ago: float = 0, state: str = "success", pipeline: str = "churn", **outputs: Any
    ) -> dict[str, ArtifactVersion]:
        start = StepStart(dag_id=pipeline, run_id=run, task_id="train", step="train", pipeline=pipeline)
        self.metadata.runs.start_step(start)
        new = [self.stored(f"{pipeline}.{name}", value, output=name) for name, value in outputs.items()]
        versions = self.metadata.runs.finish_step(StepFinish(start=start, state="success", outputs=new))
        if state != "running":
            self.metadata.runs.end(pipeline, run, state)
        self._age(start.run_key, [v.id for v in versions.values()], days_ago)
        return versions

    def stored(self, artifact: str, value: Any, output: str = "output") -> NewArtifact:
        made = save(value, self.store)
        return NewArtifact(
            output=output,
            artifact=artifact,
            uri=made.uri,
            digest=made.digest,
            size=made.size,
            type=made.type,
            materializer=made.materializer,
        )

    def model(self, version: ArtifactVersion, name: str = "churn", **refs: Any) -> Any:
        return self.metadata.models.register(NewModelVersion(model=name, artifact=version.ref(), **refs))

    def prune(self, grace: timedelta = NO_TIME, *, days: float | None = None, **policy: Any) -> PruneSummary:
        """By default everything expires that nothing but a run holds, and at once."""
        rules = RetentionPolicy.of(policy or {"default": {"runs": 0}})
        return prune(self.metadata, self.store, rules, grace=grace, actor="user:janitor", reason="test")

    def age(self, *versions: ArtifactVersion, days: float = 2) -> None:
        self._age(None, [version.id for version in versions], days)

    def _age(self, run: str | None, versions: list[int], days: float) -> None:
        at = datetime.now(timezone.utc) - timedelta(days=days)
        with self.metadata.transaction() as connection:
            if run is not None:
                connection.execute(update(schema.run).where(schema.run.c.id == run).values(started_at=at))
            ids = schema.artifact_version.c.id.in_(versions)
            connection.execute(update(schema.artifact_version).where(ids).values(created_at=at))

    def here(self, version: ArtifactVersion) -> bool:
        return self.store.exists(version.uri)


def same(value: Any) -> Any:
    """A step that returns what it is given."""
    return value
