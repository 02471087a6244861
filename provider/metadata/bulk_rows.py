"""How a batch of imported records becomes rows: one statement a table, whatever the database."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, Connection, Table, bindparam, func, select, text
from sqlalchemy.exc import IntegrityError

from ..errors import ImportRejected
from ..names import check_name
from . import schema
from .artifacts import lock_artifacts
from .columns import dumps
from .database import PerDialect
from .direct import Direct
from .keys import run_key
from .records import finite
from .terms import values_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from .bulk import Imported, ImportedArtifact, ImportedEdge, ImportedModelVersion
    from .records import JSON

_A, _V = schema.artifact, schema.artifact_version
_highest = select(func.max(_V.c.version)).where(_V.c.artifact == _A.c.name).correlate(_A).scalar_subquery()


class _Insert:
    """Rows into a table; those that are there already stay as they are. Returns how many were new."""

    def __init__(self, table: Table, leave: str | None = None) -> None:
        self._columns = [column for column in table.c if column.name != leave]
        self._table = table
        self._insert = Direct(PerDialect(lambda insert: insert(table).on_conflict_do_nothing()))
        self._json: Any = None

    def __call__(self, connection: Connection, rows: Sequence[JSON]) -> int:
        if not rows:
            return 0
        if connection.dialect.name == "postgresql":
            # One parameter for all rows: a parameter for each value costs more than inserting it.
            if self._json is None:
                self._json = self._from_json(connection)
            return int(connection.execute(self._json, {"rows": dumps([_plain(row) for row in rows])}).rowcount)
        return max(self._insert(connection, [*rows]), 0)

    def _from_json(self, connection: Connection) -> Any:
        def spelled(column: Column[Any]) -> str:
            kind = BigInteger() if column.autoincrement is True else column.type
            return f'"{column.name}" {kind.compile(connection.dialect)}'

        names = ", ".join(f'"{column.name}"' for column in self._columns)
        typed = ", ".join(spelled(column) for column in self._columns)
        return text(
            f"INSERT INTO {self._table.name} ({names}) SELECT {names} "  # noqa: S608 - names of our own
            f"FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given ({typed}) ON CONFLICT DO NOTHING"
        ).execution_options(preserve_rowcount=True)


def _plain(row: JSON) -> JSON:
    return {k: str(v) if isinstance(v, float) and math.isinf(v) else v for k, v in row.items()}


_runs, _parameters, _steps = _Insert(schema.run), _Insert(schema.run_parameter), _Insert(schema.step_run)
_metrics, _names, _versions = _Insert(schema.metric), _Insert(_A), _Insert(_V, leave="id")
_edges, _models = _Insert(schema.edge), _Insert(schema.model)
_model_versions, _values = _Insert(schema.model_version), _Insert(schema.model_version_value)


class _Lookup:
    """Numbers of artifact versions by pairs of (artifact, digest) or (artifact, version), by an index each."""

    def __init__(self, second: str, kind: str) -> None:
        chosen = f"SELECT v.artifact, v.{second}, v.id, v.version, v.digest FROM"
        match = f"windsock_artifact_version AS v ON v.artifact = {{}} AND v.{second} = {{}}"
        items = "json_extract(p.value, '$[0]')", "json_extract(p.value, '$[1]')"
        columns = f"(artifact {'VARCHAR(200)'} PATH '$[0]', second {kind} PATH '$[1]')"
        rows = "jsonb_array_elements(CAST(:pairs AS jsonb)) AS p"
        pg_kind = "integer" if kind == "INT" else "text"
        self._sql = {
            "sqlite": text(f"{chosen} json_each(:pairs) AS p CROSS JOIN {match.format(*items)}"),
            "postgresql": text(f"{chosen} {rows} JOIN {match.format('p->>0', f'CAST(p->>1 AS {pg_kind})')}"),
            "mysql": text(
                f"{chosen} JSON_TABLE(:pairs, '$[*]' COLUMNS {columns}) AS p "
                f"JOIN {match.format('p.artifact', 'p.second')}"
            ),
        }

    def __call__(self, connection: Connection, pairs: Iterable[tuple[str, Any]]) -> dict[tuple[str, Any], Any]:
        wanted = [*dict.fromkeys(pairs)]
        if not wanted:
            return {}
        dialect = "mysql" if connection.dialect.name == "mariadb" else connection.dialect.name
        rows = connection.execute(self._sql[dialect], {"pairs": dumps(wanted)})
        return {(row[0], row[1]): row for row in rows}


_by_digest, _by_version = _Lookup("digest", "VARCHAR(80)"), _Lookup("version", "INT")


def write(connection: Connection, records: Sequence[Imported], first: int) -> dict[str, int]:
    """All of them, in the order in which they depend on each other; how many of each kind were new."""
    by_kind: dict[str, list[tuple[int, Any]]] = {}
    for number, record in enumerate(records, first):
        by_kind.setdefault(record.kind, []).append((number, record))
    new = {}
    try:
        for kind, writer in _WRITERS.items():
            if kind in by_kind:
                new[kind] = writer(connection, by_kind[kind])
    except IntegrityError as error:
        if "foreign key" not in str(error.orig).lower():
            raise
        raise ImportRejected(
            f"One of the lines {first} to {first + len(records) - 1} names a run or a step run that is neither there "
            "nor in the file so far.",
            hint="Runs come first, then their step runs, then what these read and made.",
            line=first,
        ) from error
    return new


def _write_runs(connection: Connection, given: list[tuple[int, Any]]) -> int:
    rows = [{"id": run.key, **run.model_dump(exclude={"kind"})} for _, run in given]
    new = _runs(connection, rows)
    if new:  # those of a run that was there are there, or it never had any
        _parameters(connection, [{"run": row["id"], **v} for row in rows for v in values_of(row["parameters"])])
    return new


def _write_steps(connection: Connection, given: list[tuple[int, Any]]) -> int:
    rows, metrics = [], []
    for _, step in given:
        row = step.model_dump(exclude={"kind", "dag_id", "run_id", "metrics"})
        key, at = step.key, step.ended_at or step.started_at
        rows.append(
            {
                **row,
                "id": key,
                "run": run_key(step.dag_id, step.run_id),
                "pipeline": step.pipeline or "",
                "metrics": finite(step.metrics),
            }
        )
        for position, (name, value) in enumerate(step.metrics.items()):
            metric = {"step_run": key, "position": position, "key": name, "value": value, "step": None}
            metrics.append({**metric, "at": at, "latest": True})
    new = _steps(connection, rows)
    if new:
        _metrics(connection, metrics)
    return new


def _write_artifacts(connection: Connection, given: list[tuple[int, ImportedArtifact]]) -> int:
    names = sorted({check_name("artifact", record.artifact) for _, record in given})
    oldest: dict[str, datetime] = {}
    for _, record in given:
        oldest[record.artifact] = min(oldest.get(record.artifact, record.created_at), record.created_at)
    _names(connection, [{"name": name, "created_at": oldest[name]} for name in names])
    if connection.dialect.name != "sqlite":
        connection.execute(lock_artifacts(), {"names": names})
    known = _by_digest(connection, ((r.artifact, r.digest) for _, r in given))
    taken = _by_version(connection, ((r.artifact, r.version) for _, r in given if r.version is not None))
    highest = {row[0]: row[1] for row in connection.execute(_HIGHEST, {"names": names})}
    rows: dict[tuple[str, str], JSON] = {}
    numbers = {(name, version): row.digest for (name, version), row in taken.items()}
    for line, record in given:
        content = record.artifact, record.digest
        present = known[content].version if content in known else rows[content]["version"] if content in rows else None
        if present is not None:
            if record.version not in {None, present}:
                raise _contradiction(line, record, f"this content is version {present}")
            continue
        version = record.version or highest[record.artifact] + 1
        if numbers.get((record.artifact, version), record.digest) != record.digest:
            raise _contradiction(line, record, "that number has another content")
        numbers[record.artifact, version] = record.digest
        highest[record.artifact] = max(highest[record.artifact], version)
        rows[content] = {
            "artifact": record.artifact,
            "version": version,
            "uri": record.uri,
            "digest": record.digest,
            "size": record.size,
            "type": record.type,
            "materializer": record.materializer,
            "metadata": record.metadata,
            "producer": record.step_key,
            "created_at": record.created_at,
        }
    return _versions(connection, [*rows.values()])


_HIGHEST = select(_A.c.name, func.coalesce(_highest, 0)).where(_A.c.name.in_(bindparam("names", expanding=True)))


def _write_edges(connection: Connection, given: list[tuple[int, ImportedEdge]]) -> int:
    found = _by_version(connection, ((r.artifact, r.version) for _, r in given if r.version is not None))
    found |= _by_digest(connection, ((r.artifact, r.digest) for _, r in given if r.version is None))
    rows = []
    for line, edge in given:
        key = edge.step_key
        if key is None:
            raise ImportRejected(
                f"Line {line}: the edge names no step run.", hint="Give step_run, or dag_id, run_id and task_id."
            )
        row = found.get((edge.artifact, edge.version if edge.version is not None else edge.digest))
        if row is None:
            raise _unknown(line, {"artifact": edge.artifact, "version": edge.version or edge.digest})
        rows.append({"step_run": key, "direction": edge.direction, "name": edge.name, "artifact_version": row.id})
    return _edges(connection, rows)


def _write_models(connection: Connection, given: list[tuple[int, Any]]) -> int:
    rows = [record.model_dump(exclude={"kind"}) for _, record in given]
    for row in rows:
        check_name("model", row["name"])
    return _models(connection, rows)


def _write_model_versions(connection: Connection, given: list[tuple[int, ImportedModelVersion]]) -> int:
    refs = [(line, record, name, ref) for line, record in given for name in _REFS if (ref := getattr(record, name))]
    pairs = [(str(ref.get("artifact")), int(ref.get("version") or 0)) for *_, ref in refs]
    found = _by_version(connection, pairs)
    numbers: dict[tuple[int, str], int] = {}
    for (line, _, name, ref), pair in zip(refs, pairs, strict=True):
        if pair not in found:
            raise _unknown(line, ref)
        numbers[line, name] = found[pair].id
    rows, values = [], []
    for line, record in given:
        row = record.model_dump(exclude={"kind"})
        rows.append(
            {
                **row,
                "metrics": finite(record.metrics),
                **{f"{name}_version": numbers.get((line, name)) for name in _REFS},
            }
        )
        for kind, terms in (("metric", record.metrics), ("parameter", record.parameters), ("tag", record.tags)):
            values += [{"model": record.model, "version": record.version, "kind": kind, **v} for v in values_of(terms)]
    new = _model_versions(connection, rows)
    if new:
        _values(connection, values)
    return new


_REFS = ("artifact", "baseline", "evaluation")
_WRITERS = {
    "run": _write_runs,
    "step_run": _write_steps,
    "artifact": _write_artifacts,
    "edge": _write_edges,
    "model": _write_models,
    "model_version": _write_model_versions,
}


def _contradiction(line: int, record: ImportedArtifact, found: str) -> ImportRejected:
    asked = f"{record.artifact}@{record.version}" if record.version else record.artifact
    return ImportRejected(
        f'Line {line}: "{asked}" ({record.digest[:19]}…) contradicts what is there: {found}.',
        hint="Leave the version out, and it gets the next number.",
        line=line,
    )


def _unknown(line: int, ref: JSON) -> ImportRejected:
    return ImportRejected(
        f'Line {line} names "{ref.get("artifact")}@{ref.get("version")}", which is neither there nor before it.',
        hint="An artifact version comes before what names it.",
        line=line,
    )
