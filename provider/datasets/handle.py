"""``windsock.dataset("sales")``: a versioned table that grows.

::

    sales = windsock.dataset("sales", partition_by=["day"])
    sales.append(todays_rows)                       # stores today's rows and a new list of parts: version 8
    sales.read(columns=["amount"], partition={"day": "2026-11-20"})
    sales.version(3).to_polars()
    sales.diff(7, 8).rows_added

Every change is a new version: an artifact version of the data set's name, with lineage to the step that made it. Two
that append at once both succeed, one after the other: the new list is recorded only if the version that it is based
on is still the latest, and made again on the next one if not. The rows are stored once.

What it does not do: change rows in place, or delete old versions (they share their parts with the new ones).
"""

from __future__ import annotations

import random
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..artifacts.saving import save
from ..errors import ArtifactNotFound, Conflict, ContentRemoved, DatasetMismatch, NoActiveStep, RecordNotFound
from ..faults import reach
from ..names import check_name
from .manifest import Manifest, Part, plain
from .tables import pieces, to_table, unified
from .version import DatasetVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from ..artifacts.saving import StoredArtifact
    from ..artifacts.store import ArtifactStore
    from ..metadata.artifacts import ArtifactVersion
    from ..metadata.store import Metadata
    from ..stack import Stack
    from .diff import DatasetDiff

_ATTEMPTS = 200
"""Others that were faster, before a change gives up."""
TYPE = "windsock.DatasetVersion"


def dataset(name: str, *, partition_by: Sequence[str] | str = (), stack: Stack | str | None = None) -> Dataset:
    """The data set of that name; nothing is read or written yet.

    ``partition_by`` is needed when the first rows are written, and is remembered. Inside a step it belongs to the
    step's stack, elsewhere to ``stack``, or the active one.
    """
    found = _stack(stack)
    columns = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
    return Dataset(name, found.metadata, found.artifact_store, partition_by=columns)


def _stack(stack: Stack | str | None) -> Stack:
    from ..runtime.context import context
    from ..stack import Stack

    if isinstance(stack, Stack):
        return stack
    if stack is None:
        try:
            active = context()
        except NoActiveStep:
            pass
        else:
            return active.stack
    return Stack.load(stack)


class Dataset:
    """A handle: cheap, immutable, thread-safe."""

    def __init__(
        self, name: str, metadata: Metadata, store: ArtifactStore, *, partition_by: Sequence[str] = ()
    ) -> None:
        self.name = check_name("artifact", name)
        self.metadata = metadata
        self.store = store
        self.partition_by = tuple(partition_by)

    # ------------------------------------------------------------------ write

    def append(self, data: Any) -> DatasetVersion:
        """Add rows; columns that are new are null in the rows before. Returns the new version.

        Inside a step, appending again in a retry of the task changes nothing. Raises ``DatasetMismatch``,
        ``DataUnreadable``, ``StoreUnavailable``; ``Conflict`` if others were faster a great many times.
        """
        return self._change(data, lambda part: True)

    def overwrite(self, data: Any) -> DatasetVersion:
        """Replace all rows, and the schema. Versions before stay as they are."""
        return self._change(data, lambda part: False, afresh=True)

    def replace(self, data: Any, *, partition: Mapping[str, Any]) -> DatasetVersion:
        """Replace the rows of one partition; ``data`` may have rows of that partition only."""
        wanted = {name: plain(value) for name, value in partition.items()}

        def others(part: Part) -> bool:
            return any(part.partition.get(name) != value for name, value in wanted.items())

        def check(parts: Sequence[Part]) -> None:
            if stray := next((part for part in parts if others(part)), None):
                raise DatasetMismatch(
                    f'Rows of partition {dict(stray.partition)} of data set "{self.name}" are to replace those of '
                    f"{wanted}.",
                    hint="Give the rows of that partition, or append them.",
                    dataset=self.name,
                )

        return self._change(data, others, check=check)

    def _change(
        self,
        data: Any,
        keep: Callable[[Part], bool],
        *,
        afresh: bool = False,
        check: Callable[[Sequence[Part]], None] | None = None,
    ) -> DatasetVersion:
        table = to_table(data)
        head = self._head()
        source, producer = _who()
        new, stored = self._store(table, self._columns(head), source)
        if check is not None:
            check(new)
        reach("datasets.parts_stored")
        present: dict[str, str] = {}
        for attempt in range(_ATTEMPTS):
            before = head[1].manifest if head else None
            if before is not None and _done_before(before, new, source):
                return head[1]  # type: ignore[index]  # a retry
            schema = unified(None if before is None or afresh else before.schema, table, self.name)
            kept = [part for part in (before.parts if before else ()) if keep(part)]
            base = before or Manifest(self.name, b"", self._columns(head))
            manifest = base.next([*kept, *new], schema, head[0].digest if head else None)
            try:
                return self._record(manifest, head[0].version if head else 0, producer, stored, present)
            except ContentRemoved as error:  # by a pruner, since it was found in the store
                time.sleep(0.2 if error.removing else 0)
                new, stored = self._store(table, self._columns(head), source)
                present |= error.removed
            except Conflict:
                time.sleep(random.uniform(0, 0.01 * min(attempt + 1, 20)))  # noqa: S311 - no secret
            head = self._head()
        raise Conflict(
            f'Data set "{self.name}" was changed by others {_ATTEMPTS} times meanwhile.',
            hint="Do it again, or append bigger pieces.",
            dataset=self.name,
        )

    def _store(
        self, table: pa.Table, partition_by: Sequence[str], source: str | None
    ) -> tuple[list[Part], list[StoredArtifact]]:
        parts, all_stored = [], []
        for values, piece in pieces(table, partition_by, self.name):
            stored = save(piece, self.store)
            all_stored.append(stored)
            parts.append(
                Part(
                    key=self.store.key_of(stored.uri),
                    digest=stored.digest,
                    size=stored.size,
                    rows=piece.num_rows,
                    partition=values,
                    columns=tuple(piece.column_names),
                    source=source,
                )
            )
        return parts, all_stored

    def _record(
        self,
        manifest: Manifest,
        expected: int,
        producer: str | None,
        parts: Sequence[StoredArtifact],
        present: Mapping[str, str],
    ) -> DatasetVersion:
        from ..metadata.artifacts import NewArtifact

        made = save(DatasetVersion(manifest, self.store), self.store)
        reach("datasets.manifest_stored")
        new = NewArtifact(
            artifact=self.name,
            uri=made.uri,
            digest=made.digest,
            size=made.size,
            type=made.type,
            materializer=made.materializer,
            metadata=made.metadata,
        )
        recorded = self.metadata.artifacts.record(
            new, producer=producer, present=present, refers=[part.uri for part in parts], expected=expected
        )
        return DatasetVersion(manifest, self.store, version=recorded.version)

    def _columns(self, head: tuple[ArtifactVersion, DatasetVersion] | None) -> tuple[str, ...]:
        """The partition columns. Raises ``DatasetMismatch`` if the data set has others."""
        if head is None:
            return self.partition_by
        found = head[1].manifest.partition_by
        if self.partition_by and self.partition_by != found:
            raise DatasetMismatch(
                f'Data set "{self.name}" is partitioned by {list(found)}, not by {list(self.partition_by)}.',
                hint="Leave partition_by out, or begin a data set of another name.",
                dataset=self.name,
            )
        return found

    # ------------------------------------------------------------------ read

    def latest(self) -> DatasetVersion:
        """Raises ``ArtifactNotFound`` if nothing was written yet."""
        return self.version()

    def version(self, number: int | None = None, *, as_of: datetime | None = None) -> DatasetVersion:
        """The version of that number; or the last one that was there at that time; or the latest.

        Raises ``ArtifactNotFound``.
        """
        if as_of is not None:
            return self._open(self._at(as_of))
        return self._open(self.metadata.artifacts.get(self.name, number))

    def versions(self, limit: int = 100, before: str | int | None = None) -> Any:
        """A page of the records of its versions, the newest first."""
        return self.metadata.artifacts.versions(self.name, limit, before)

    def read(
        self,
        columns: Sequence[str] | None = None,
        *,
        version: int | None = None,
        as_of: datetime | None = None,
        **options: Any,
    ) -> Any:
        """The rows as a pandas data frame; options as of :meth:`DatasetVersion.to_arrow`."""
        return self.version(version, as_of=as_of).to_pandas(columns, **options)

    def diff(self, old: int, new: int | None = None, *, distribution: bool = True) -> DatasetDiff:
        """What changed between two versions; ``new`` is the latest unless given."""
        return self.version(old).diff(self.version(new), distribution=distribution)

    def _at(self, when: datetime) -> ArtifactVersion:
        at = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
        before: str | None = None
        while True:
            page = self.metadata.artifacts.versions(self.name, 200, before)
            for version in page:
                if version.created_at <= at:
                    return version
            if page.next is None:
                raise ArtifactNotFound(
                    f'Data set "{self.name}" had no version at {at.isoformat()}.',
                    hint=f"windsock dataset versions {self.name}",
                    artifact=self.name,
                )
            before = page.next

    def _head(self) -> tuple[ArtifactVersion, DatasetVersion] | None:
        found = self.metadata.artifacts.find(self.name)
        return None if found is None else (found, self._open(found))

    def _open(self, found: ArtifactVersion) -> DatasetVersion:
        if found.type != TYPE:
            raise DatasetMismatch(
                f'"{self.name}" is an artifact of type {found.type}, and no data set.',
                hint="Choose another name for the data set.",
                dataset=self.name,
            )
        from ..artifacts.saving import load

        snapshot: DatasetVersion = load({**found.ref(), "materializer": found.materializer}, self.store)
        return DatasetVersion(snapshot.manifest, self.store, version=found.version)

    def __repr__(self) -> str:
        return f"<Dataset {self.name}>"


def _done_before(manifest: Manifest, new: Sequence[Part], source: str | None) -> bool:
    """Whether an earlier try of the same task has appended the same rows."""
    if source is None or not new:
        return False
    there = {(part.source, part.digest) for part in manifest.parts}
    return all((source, part.digest) in there for part in new)


def _who() -> tuple[str | None, str | None]:
    """The task instance (the same in a retry), and its step run, if this is a step that runs."""
    from ..metadata.keys import step_run_key
    from ..runtime.context import context

    try:
        active = context()
    except NoActiveStep:
        return None, None
    run = active.run
    source = f"{run.dag_id}/{run.run_id}/{run.task_id}/{run.map_index}"
    key = step_run_key(run.dag_id, run.run_id, run.task_id, run.map_index, run.try_number)
    try:
        active.metadata.runs.step(key)
    except RecordNotFound:
        return source, None
    return source, key
