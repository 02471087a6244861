"""Writes to a metadata database what a runner would write."""

from __future__ import annotations

import itertools
from hashlib import blake2b
from typing import Any

from windsock.provider.metadata import EdgeIn, Metadata, NewArtifact, NewModelVersion, StepFinish, StepStart, schema
from windsock.provider.metadata.database import Database
from windsock.provider.metadata.engine import engine_for

_numbers = itertools.count(1)


def digest(content: object) -> str:
    return "blake3:" + blake2b(str(content).encode(), digest_size=32).hexdigest()


def new_artifact(
    name: str = "churn.train", content: object = None, output: str = "output", **facts: Any
) -> NewArtifact:
    content = next(_numbers) if content is None else content
    defaults = {"size": 3, "type": "pandas.DataFrame", "materializer": "parquet", "metadata": {"rows": 3}}
    return NewArtifact(
        output=output,
        artifact=name,
        uri=f"file:///objects/{digest(content)[7:]}",
        digest=digest(content),
        **{**defaults, **facts},
    )


def emptied(url: str) -> str:
    """A MariaDB database without rows, its numbers at one. TRUNCATE takes 10 ms a table: only where there are rows."""
    with engine_for(Database(url).url).connect() as connection:
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
        for table in schema.metadata.sorted_tables:
            if connection.exec_driver_sql(f"SELECT 1 FROM {table.name} LIMIT 1").first():
                connection.exec_driver_sql(f"TRUNCATE {table.name}")
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 1")
    return url


class Lab:
    """Writes what a runner would write."""

    def __init__(self, metadata: Metadata) -> None:
        self.metadata = metadata

    def start(self, step: str = "train", run: str = "r1", **facts: Any) -> StepStart:
        facts = {
            "dag_id": "churn",
            "task_id": step,
            "pipeline": "churn",
            "pipeline_version": 1,
            "stack": "local",
            **facts,
        }
        start = StepStart(run_id=run, step=step, **facts)
        self.metadata.runs.start_step(start)
        return start

    def step(
        self,
        step: str = "train",
        run: str = "r1",
        *,
        reads: dict[str, Any] | None = None,
        makes: dict[str, object] | None = None,
        **facts: Any,
    ) -> tuple[str, Any]:
        """Run a step; returns its key and its outputs. ``makes``: output to content."""
        start = self.start(step, run, **facts)
        outputs = [
            new_artifact(f"churn.{step}" if name == "output" else f"churn.{step}.{name}", content, output=name)
            for name, content in (makes or {}).items()
        ]
        inputs = [EdgeIn(name=name, ref=version.ref()) for name, version in (reads or {}).items()]
        finish = StepFinish(start=start, state="success", inputs=inputs, outputs=outputs)
        return start.key, self.metadata.runs.finish_step(finish)

    def model(self, name: str = "churn", content: object = None, **facts: Any) -> Any:
        artifact = self.metadata.artifacts.record(new_artifact(f"{name}.model", content))
        return self.metadata.models.register(NewModelVersion(model=name, artifact=artifact.ref(), **facts))
