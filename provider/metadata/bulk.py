"""Bulk import: records of another place, or of another database, tens of thousands a second.

A file has one JSON object a line; ``kind`` says what it is: ``run``, ``step_run``, ``artifact`` (one version),
``edge``, ``model``, ``model_version``. What a record names comes before it, or is in the database.

Idempotent: what is there already is left as it is, so an import that was cut off is simply run again. Each batch is one
transaction, and one statement a table. Nothing is checked against the artifact store, no event is emitted, and of the
whole import one line goes into the audit trail.
"""

from __future__ import annotations

import itertools
from datetime import datetime  # noqa: TC003 - pydantic reads annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from ..errors import ImportRejected
from . import audit
from .keys import run_key, step_run_key
from .records import JSON, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .database import Database

BATCH = 5000


class _Attempt(Record):
    """Names a step run: by its key, or by what the key is made of."""

    step_run: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int = -1
    try_number: int = 1

    @property
    def step_key(self) -> str | None:
        if self.step_run is not None or self.dag_id is None or self.run_id is None or self.task_id is None:
            return self.step_run
        return step_run_key(self.dag_id, self.run_id, self.task_id, self.map_index, self.try_number)


class ImportedRun(Record):
    kind: Literal["run"] = "run"
    dag_id: str
    run_id: str
    pipeline: str | None = None
    pipeline_version: int | None = None
    stack: str | None = None
    state: str = "success"
    parameters: JSON = Field(default_factory=dict)
    reason: JSON | None = None
    triggered_by: str | None = None
    started_at: datetime
    ended_at: datetime | None = None

    @property
    def key(self) -> str:
        return run_key(self.dag_id, self.run_id)


class ImportedStepRun(Record):
    """``metrics`` are the last values; series are not imported."""

    kind: Literal["step_run"] = "step_run"
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1
    pipeline: str | None = None
    step: str
    state: Literal["success", "cached", "failed", "skipped"] = "success"
    cache_key: str | None = None
    cached_from: str | None = None
    worker: str | None = None
    parameters: JSON = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    error: str | None = None
    started_at: datetime
    ended_at: datetime | None = None

    @property
    def key(self) -> str:
        return step_run_key(self.dag_id, self.run_id, self.task_id, self.map_index, self.try_number)


class ImportedArtifact(_Attempt):
    """One artifact version; the fields of a step run name its producer. Without ``version`` it gets the next number."""

    kind: Literal["artifact"] = "artifact"
    artifact: str
    version: int | None = Field(default=None, ge=1)
    uri: str
    digest: str
    size: int
    type: str
    materializer: str | None = None
    metadata: JSON = Field(default_factory=dict)
    created_at: datetime


class ImportedEdge(_Attempt):
    """A step run read (``in``) or made (``out``) an artifact version, named by its number or by its digest."""

    kind: Literal["edge"] = "edge"
    direction: Literal["in", "out"]
    name: str
    artifact: str
    version: int | None = None
    digest: str | None = None


class ImportedModel(Record):
    kind: Literal["model"] = "model"
    name: str
    description: str | None = None
    created_at: datetime


class ImportedModelVersion(Record):
    """``artifact``, ``baseline`` and ``evaluation`` are references with at least ``artifact`` and ``version``."""

    kind: Literal["model_version"] = "model_version"
    model: str
    version: int = Field(ge=1)
    state: Literal["active", "archived"] = "active"
    artifact: JSON
    baseline: JSON | None = None
    evaluation: JSON | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    parameters: JSON = Field(default_factory=dict)
    tags: JSON = Field(default_factory=dict)
    input_schema: JSON | None = None
    example: list[Any] | None = None
    run: str | None = None
    step_run: str | None = None
    source: str | None = None
    requirements: dict[str, str] | list[str] = Field(default_factory=dict)
    description: str | None = None
    created_by: str | None = None
    created_at: datetime


Imported = ImportedRun | ImportedStepRun | ImportedArtifact | ImportedEdge | ImportedModel | ImportedModelVersion
KINDS = ("run", "step_run", "artifact", "edge", "model", "model_version")


class Imports(Record):
    """What an import did: by kind, how many records it was given, and how many of them were new."""

    given: dict[str, int]
    new: dict[str, int]

    @property
    def rows(self) -> int:
        return sum(self.given.values())


class Bulk:
    def __init__(self, database: Database) -> None:
        self._database = database

    def load(
        self,
        records: Iterable[Imported],
        *,
        actor: str = "unknown",
        batch: int = BATCH,
        progress: Callable[[int], None] | None = None,
    ) -> Imports:
        """Import the records, ``batch`` at a time; ``progress`` is told how many were written, after each.

        Raises ``ImportRejected`` for a record that names something that is nowhere, or that contradicts what is
        there; it names the place in ``records``. The batches before stay.
        """
        from .bulk_rows import write

        given, new = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
        source, first = iter(records), 1
        while chunk := list(itertools.islice(source, batch)):
            made = self._database.write(lambda connection, c=chunk, f=first: write(connection, c, f))  # type: ignore[misc]
            for kind, count in made.items():
                new[kind] += count
            for record in chunk:
                given[record.kind] += 1
            first += len(chunk)
            if progress is not None:
                progress(len(chunk))
        done = Imports(given=given, new=new)
        if any(new.values()):
            counts = {kind: count for kind, count in new.items() if count}
            self._database.write(
                lambda connection: audit.append(connection, actor, "import", "database", "metadata", None, counts)
            )
        return done

    def load_lines(self, lines: Iterable[str | bytes], **options: Any) -> Imports:
        """The same of JSON lines. Raises ``ImportRejected`` for a line that is no record, too."""
        return self.load(read_lines(lines), **options)


def read_lines(lines: Iterable[str | bytes]) -> Iterator[Imported]:
    """The records of a file, one a line; an empty line is an error, too."""
    adapter: TypeAdapter[Imported] = TypeAdapter(Annotated[Imported, Field(discriminator="kind")])
    read = adapter.validate_json
    for number, line in enumerate(lines, 1):
        try:
            yield read(line)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise ImportRejected(
                f"Line {number} is no record: {where + ': ' if where else ''}{problem['msg']}.",
                hint=f"Each line is one JSON object whose kind is one of: {', '.join(KINDS)}.",
                line=number,
            ) from None
