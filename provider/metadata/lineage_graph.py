"""How a lineage graph is gathered: one recursive query a direction, then one look-up a kind of node.

The number of statements does not depend on the size of the graph; on MySQL it grows with its depth. Ids are gathered
first and facts last, so that the limits hold for everything.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from sqlalchemy import CTE, BindParameter, Connection, Select, bindparam, case, literal_column, or_, select

from ..errors import RecordNotFound
from . import schema
from .keys import run_key
from .lineage import Direction, LineageEdge, LineageGraph, LineageNode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .records import JSON

_R, _S, _E, _V, _M, _A, _D = (
    schema.run,
    schema.step_run,
    schema.edge,
    schema.artifact_version,
    schema.model_version,
    schema.alias,
    schema.deployment,
)
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)

ROWS_PER_NODE = (0.5, 1, 2, 4, 8)
"""The walk meets a step run once for each distance at which it lies; it stops after this many rows a node.

Rows are what it costs, and a step run brings several nodes: few are asked for first, twice as many if they do not do.
"""

_from, _onward = _E.alias("edge_from"), _E.alias("edge_onward")


def _told(direction: str, walk: CTE) -> Any:
    """A direction in a form that depends on the walk.

    Where a joined table has a condition of its own (also "the producer is not NULL"), SQLite may first read all of it,
    to make a Bloom filter of what meets the condition: 0.1 s in a million rows, each time.
    """
    return case((walk.c.level > 0, literal_column(f"'{direction}'")))


def _upward() -> Select[Any]:
    """Step runs: those that made what is asked about, then those that made what these read, and so on."""
    made = select(_V.c.producer.label("id"), literal_column("1").label("level"))
    walk = made.where(_V.c.id.in_(_IDS), _V.c.producer.is_not(None)).cte("upward", recursive=True)
    onward = (
        select(_V.c.producer, walk.c.level + 1)
        .select_from(walk)
        .join(_from, (_from.c.step_run == walk.c.id) & (_from.c.direction == _told("in", walk)))
        .join(_V, _V.c.id == _from.c.artifact_version)
        .where(walk.c.level < bindparam("depth"))
    )
    return _first_met(walk.union(onward))


def _downward() -> Select[Any]:
    """Step runs: those that read what is asked about, then those that read what these made, and so on."""
    read = select(_E.c.step_run.label("id"), literal_column("1").label("level"))
    walk = read.where(_E.c.artifact_version.in_(_IDS), _E.c.direction == "in").cte("downward", recursive=True)
    onward = (
        select(_onward.c.step_run, walk.c.level + 1)
        .select_from(walk)
        .join(_from, (_from.c.step_run == walk.c.id) & (_from.c.direction == _told("out", walk)))
        .join(
            _onward,
            (_onward.c.artifact_version == _from.c.artifact_version) & (_onward.c.direction == _told("in", walk)),
        )
        .where(walk.c.level < bindparam("depth"))
    )
    return _first_met(walk.union(onward))


def _first_met(walk: CTE) -> Select[Any]:
    # SQLite and PostgreSQL walk breadth first and stop at LIMIT, so what is cut off is what lies farthest.
    return select(walk.c.id, walk.c.level).limit(bindparam("rows"))


class _Way(NamedTuple):
    """One direction: as one recursive query, and as two: step runs next to artifact versions, and next to step runs."""

    recursive: Select[Any]
    first: Select[Any]
    onward: Select[Any]


def _one_level(statement: Select[Any]) -> Select[Any]:
    return statement.distinct().limit(bindparam("rows"))


_UP = _Way(
    _upward(),
    _one_level(select(_V.c.producer).where(_V.c.id.in_(_IDS), _V.c.producer.is_not(None))),
    _one_level(
        select(_V.c.producer)
        .join_from(_from, _V, _V.c.id == _from.c.artifact_version)
        .where(_from.c.step_run.in_(_IDS), _from.c.direction == "in", _V.c.producer.is_not(None))
    ),
)
_DOWN = _Way(
    _downward(),
    _one_level(select(_E.c.step_run).where(_E.c.artifact_version.in_(_IDS), _E.c.direction == "in")),
    _one_level(
        select(_onward.c.step_run)
        .join_from(_from, _onward, _onward.c.artifact_version == _from.c.artifact_version)
        .where(_from.c.step_run.in_(_IDS), _from.c.direction == "out", _onward.c.direction == "in")
    ),
)
_TOUCHED = select(_E.c.step_run, _E.c.artifact_version).where(
    _E.c.step_run.in_(_IDS), _E.c.direction == bindparam("direction")
)
_EDGES_OF_STEPS = select(_E.c.artifact_version, _E.c.direction).where(_E.c.step_run.in_(_IDS)).distinct()
_STEPS_OF_RUN = select(_S).where(_S.c.run == bindparam("run")).order_by(_S.c.started_at).limit(bindparam("limit"))
_ARTIFACT = select(_V.c.id).where(_V.c.artifact == bindparam("name"), _V.c.version == bindparam("version"))
_MODEL = select(_M).where(_M.c.model == bindparam("name"), _M.c.version == bindparam("version"))
_DEPLOYMENT = select(_D.c.model, _D.c.version).where(_D.c.name == bindparam("name"))
_STEP = select(_S.c.id).where(_S.c.id == bindparam("key"))
_RUN = select(_R.c.id).where(_R.c.id == bindparam("key"))
_LATEST_RUN = (
    select(_R.c.id).where(_R.c.dag_id == bindparam("dag_id")).order_by(_R.c.started_at.desc(), _R.c.id.desc()).limit(1)
)
_MODELS_OF = (
    select(_M.c.model, _M.c.version)
    .where(or_(_M.c.artifact_version.in_(_IDS), _M.c.baseline_version.in_(_IDS), _M.c.evaluation_version.in_(_IDS)))
    .order_by(_M.c.model, _M.c.version.desc())
    .limit(bindparam("limit"))
)

# The facts.
_ARTIFACTS = select(
    _V.c.id, _V.c.artifact, _V.c.version, _V.c.uri, _V.c.digest, _V.c.size, _V.c.type, _V.c.created_at, _V.c.producer
).where(_V.c.id.in_(_IDS))
_STEP_RUNS = select(_S).where(_S.c.id.in_(_IDS))
_RUNS = select(_R).where(_R.c.id.in_(_IDS))
_NAMES: BindParameter[Any] = bindparam("names", expanding=True)
_MODEL_VERSIONS = select(_M).where(_M.c.model.in_(_NAMES), _M.c.version.in_(bindparam("versions", expanding=True)))
_ALIASES = select(_A.c.model, _A.c.alias, _A.c.version).where(_A.c.model.in_(_NAMES))
_DEPLOYMENTS = select(_D).where(_D.c.model.in_(_NAMES), _D.c.phase != "deleted")
_ONE_DEPLOYMENT = select(_D).where(_D.c.name.in_(_NAMES))
_EDGES = select(_E).where(_E.c.step_run.in_(_IDS), _E.c.artifact_version.in_(bindparam("artifacts", expanding=True)))


class Walk:
    """Gathers one graph on one connection."""

    def __init__(self, connection: Connection, limit: int) -> None:
        self._connection = connection
        self._limit = limit
        self._artifacts: dict[int, None] = {}
        self._steps: dict[str, None] = {}
        self._models: dict[tuple[str, int], None] = {}
        self._deployments: dict[str, None] = {}
        self._runs: dict[str, None] = {}
        self._with_runs = False
        self._with_deployments = False
        self._truncated = False

    def start(self, node: str, direction: Direction, depth: int) -> None:
        """Gather what lies before and after ``node``."""
        kind, _, rest = node.partition(":")
        finder = {
            "artifact": self._from_artifact,
            "step_run": self._from_step_run,
            "run": self._from_run,
            "model": self._from_model,
            "deployment": self._from_deployment,
        }.get(kind)
        if finder is None or not rest:
            raise RecordNotFound(
                f"{node!r} is no node of the lineage.",
                hint="Write artifact:NAME@VERSION, step_run:ID, run:ID, model:NAME@VERSION or deployment:NAME.",
                node=node,
            )
        before, after = finder(node, rest)
        if direction != "down":
            self._with_runs = True
            self._up(before, depth)
        if direction != "up":
            self._with_deployments = True
            self._down(after, depth)

    def run(self, dag_id: str, run_id: str | None) -> None:
        """Gather one run, without what came before and after it."""
        if run_id is None:
            key = self._connection.execute(_LATEST_RUN, {"dag_id": dag_id}).scalar()
        else:
            key = self._connection.execute(_RUN, {"key": run_key(dag_id, run_id)}).scalar()
        if key is None:
            asked = f'run "{run_id}"' if run_id is not None else "run"
            raise RecordNotFound(
                f'DAG "{dag_id}" has no recorded {asked}.', hint="A run is recorded when its first step starts."
            )
        before, after = self._from_run("", key)
        self._keep(self._artifacts, [*before, *after])
        self._with_runs = self._with_deployments = True
        self._add_models(after)

    # -- where to begin: what is before the node, and what is after it, as numbers of artifact versions

    def _from_artifact(self, node: str, rest: str) -> tuple[list[int], list[int]]:
        number = self._connection.execute(_ARTIFACT, _versioned(node, rest)).scalar()
        if number is None:
            raise _missing(node)
        self._keep(self._artifacts, [number])
        return [number], [number]

    def _from_step_run(self, node: str, rest: str) -> tuple[list[int], list[int]]:
        if self._connection.execute(_STEP, {"key": rest}).scalar() is None:
            raise _missing(node)
        return self._around([rest])

    def _from_run(self, node: str, rest: str) -> tuple[list[int], list[int]]:
        if self._connection.execute(_RUN, {"key": rest}).scalar() is None:
            raise _missing(node)
        self._keep(self._runs, [rest])
        rows = self._connection.execute(_STEPS_OF_RUN, {"run": rest, "limit": self._limit + 1}).all()
        last = {(row.task_id, row.map_index): row for row in sorted(rows, key=lambda row: row.try_number)}
        return self._around([row.id for row in rows if last[row.task_id, row.map_index] is row])

    def _from_model(self, node: str, rest: str) -> tuple[list[int], list[int]]:
        row = self._connection.execute(_MODEL, _versioned(node, rest)).first()
        if row is None:
            raise _missing(node)
        self._keep(self._models, [(row.model, row.version)])
        if row.step_run is not None and self._connection.execute(_STEP, {"key": row.step_run}).scalar():
            self._keep(self._steps, [row.step_run])
        numbers = (row.artifact_version, row.baseline_version, row.evaluation_version)
        return [number for number in numbers if number is not None], []

    def _from_deployment(self, node: str, rest: str) -> tuple[list[int], list[int]]:
        row = self._connection.execute(_DEPLOYMENT, {"name": rest}).first()
        if row is None:
            raise _missing(node)
        self._keep(self._deployments, [rest])
        return self._from_model(f"model:{row.model}@{row.version}", f"{row.model}@{row.version}")

    def _around(self, steps: list[str]) -> tuple[list[int], list[int]]:
        self._keep(self._steps, steps)
        rows = self._connection.execute(_EDGES_OF_STEPS, {"ids": [*self._steps]}).all()
        return ([n for n, direction in rows if direction == "in"], [n for n, direction in rows if direction == "out"])

    # -- walking

    def _up(self, seeds: list[int], depth: int) -> None:
        self._keep(self._artifacts, seeds)
        self._walk(_UP, "in", seeds, depth)

    def _down(self, seeds: list[int], depth: int) -> None:
        self._keep(self._artifacts, seeds)
        levels = self._walk(_DOWN, "out", seeds, depth)
        self._add_models([*seeds, *(number for number, level in levels.items() if level < depth)])

    def _walk(self, way: _Way, direction: str, seeds: list[int], depth: int) -> dict[int, int]:
        """Keep the step runs on the way, each with what it read (or made), the nearest first.

        Returns the artifact versions found, by their distance.
        """
        levels: dict[int, int] = {}
        expanded: dict[str, int] = {}
        if not seeds or depth < 1:
            return levels
        for rows in (int(self._limit * factor) + 1 for factor in ROWS_PER_NODE):
            met = self._meet(way, seeds, depth, rows)
            new: dict[str, int] = {}
            for step, level in met:
                if step is not None and step not in expanded:
                    new[step] = min(level, new.get(step, level))
            expanded |= new
            touched = self._touched(new, direction)
            for step in sorted(new, key=new.__getitem__):
                self._keep(self._steps, [step])
                self._keep(self._artifacts, touched.get(step, ()))
                levels |= {number: new[step] for number in touched.get(step, ()) if number not in levels}
            if len(met) < rows or self._size() >= self._limit:
                return levels
        self._truncated = True
        return levels

    def _meet(self, way: _Way, seeds: list[int], depth: int, rows: int) -> Sequence[Any]:
        """At most ``rows`` step runs with their distances, the nearest first; fewer only if there are no more.

        MySQL finishes a recursion before it looks at LIMIT, which never ends where a million things came of one: there
        it is one query a level.
        """
        if self._connection.dialect.name != "mysql":
            return self._connection.execute(way.recursive, {"ids": seeds, "depth": depth, "rows": rows}).all()
        met: dict[str, int] = {}
        statement, ids = way.first, cast("list[Any]", seeds)
        for level in range(1, depth + 1):
            # As many more as were met already, because it may find those again.
            found = self._connection.execute(statement, {"ids": ids, "rows": rows + len(met)}).scalars()
            ids = [step for step in found if step not in met]
            met |= dict.fromkeys(ids, level)
            if not ids or len(met) >= rows:
                break
            statement = way.onward
        return [*met.items()][:rows]

    def _touched(self, steps: dict[str, int], direction: str) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        if steps:
            values = {"ids": [*steps], "direction": direction}
            for step, number in self._connection.execute(_TOUCHED, values).all():
                found.setdefault(step, []).append(number)
        return found

    def _add_models(self, artifacts: list[int]) -> None:
        if artifacts:
            rows = self._connection.execute(_MODELS_OF, {"ids": artifacts, "limit": self._limit + 1})
            self._keep(self._models, [(row.model, row.version) for row in rows])

    def _keep(self, known: dict[Any, None], found: Iterable[Any]) -> None:
        for one in found:
            if one not in known:
                if self._size() >= self._limit:
                    self._truncated = True
                    return
                known[one] = None

    def _size(self) -> int:
        return len(self._artifacts) + len(self._steps) + len(self._models) + len(self._deployments) + len(self._runs)

    # -- the facts

    def graph(self) -> LineageGraph:
        """Read the facts of what was gathered, and draw the lines."""
        artifacts = {row.id: row for row in self._rows(_ARTIFACTS, [*self._artifacts])}
        steps = {row.id: row for row in self._rows(_STEP_RUNS, [*self._steps])}
        if self._with_runs:
            self._keep(self._runs, dict.fromkeys(row.run for row in steps.values()))
        runs = {row.id: row for row in self._rows(_RUNS, [*self._runs])}
        models, aliases = self._model_rows()
        deployments = self._deployment_rows()
        nodes = [
            *(_run_node(row) for row in runs.values()),
            *(_step_node(row) for row in sorted(steps.values(), key=lambda row: row.started_at)),
            *(_artifact_node(artifacts[number]) for number in self._artifacts),
            *(_model_node(row, aliases.get((row.model, row.version), [])) for row in models),
            *(_deployment_node(row) for row in deployments),
        ]
        edges = [
            *(_edge(f"run:{row.run}", f"step_run:{row.id}", "runs") for row in steps.values() if row.run in runs),
            *self._step_edges(artifacts),
            *_model_edges(models, artifacts, steps),
            *(_edge(f"model:{r.model}@{r.version}", f"deployment:{r.name}", "serves") for r in deployments),
        ]
        ids = {node.id for node in nodes}  # where a limit cut, a line may have lost an end
        edges = [edge for edge in edges if edge.source in ids and edge.target in ids]
        return LineageGraph(nodes=nodes, edges=edges, truncated=self._truncated)

    def _rows(self, statement: Select[Any], ids: list[Any]) -> list[Any]:
        return [*self._connection.execute(statement, {"ids": ids}).all()] if ids else []

    def _model_rows(self) -> tuple[list[Any], dict[tuple[str, int], list[str]]]:
        if not self._models:
            return [], {}
        names = [*{name for name, _ in self._models}]
        values = {"names": names, "versions": [*{version for _, version in self._models}]}
        rows = [row for row in self._connection.execute(_MODEL_VERSIONS, values) if self._has_model(row)]
        aliases: dict[tuple[str, int], list[str]] = {}
        for row in self._connection.execute(_ALIASES, {"names": names}):
            aliases.setdefault((row.model, row.version), []).append(row.alias)
        return rows, aliases

    def _deployment_rows(self) -> list[Any]:
        found: dict[str, Any] = {}
        if self._deployments:
            rows = self._connection.execute(_ONE_DEPLOYMENT, {"names": [*self._deployments]})
            found.update({row.name: row for row in rows})
        if self._models and self._with_deployments:
            names = [*{name for name, _ in self._models}]
            rows = self._connection.execute(_DEPLOYMENTS, {"names": names})
            serving = {row.name: row for row in rows if self._has_model(row)}
            self._keep(self._deployments, serving)
            found.update({name: row for name, row in serving.items() if name in self._deployments})
        return [*found.values()]

    def _has_model(self, row: Any) -> bool:
        return (row.model, row.version) in self._models

    def _step_edges(self, artifacts: dict[int, Any]) -> list[LineageEdge]:
        if not self._steps or not artifacts:
            return []
        values = {"ids": [*self._steps], "artifacts": [*artifacts]}
        ids = {number: _artifact_id(row) for number, row in artifacts.items()}
        edges = []
        for key, direction, name, number in self._connection.execute(_EDGES, values).all():
            step, data = f"step_run:{key}", ids[number]
            edges.append(_edge(data, step, name) if direction == "in" else _edge(step, data, name))
        return edges


def _versioned(node: str, rest: str) -> JSON:
    name, _, version = rest.rpartition("@")
    if not name or not version.isdigit():
        raise RecordNotFound(f"{node!r} names no version.", hint=f"Write {node.partition('@')[0]}@1", node=node)
    return {"name": name, "version": int(version)}


def _missing(node: str) -> RecordNotFound:
    return RecordNotFound(f"{node!r} is not recorded.", hint="windsock lineage show --help", node=node)


def _edge(source: str, target: str, label: str) -> LineageEdge:
    return LineageEdge(source=source, target=target, label=label)


def _artifact_id(row: Any) -> str:
    return f"artifact:{row[1]}@{row[2]}"


def _model_edges(models: list[Any], artifacts: dict[int, Any], steps: dict[str, Any]) -> list[LineageEdge]:
    edges = []
    for row in models:
        target = f"model:{row.model}@{row.version}"
        if row.step_run in steps:
            edges.append(_edge(f"step_run:{row.step_run}", target, "registers"))
        for label in ("artifact", "baseline", "evaluation"):
            data = artifacts.get(getattr(row, f"{label}_version"))
            if data is not None:
                edges.append(_edge(_artifact_id(data), target, label))
    return edges


def _facts(row: Any, *names: str) -> JSON:
    values = ((name, getattr(row, name)) for name in names)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values}


def _artifact_node(row: Any) -> LineageNode:
    # Taken apart at once: these are most of a big graph, and asking a row by name costs more than making the node.
    _, name, version, uri, digest, size, kind, created_at, producer = row
    facts = {"artifact": name, "version": version, "uri": uri, "digest": digest, "size": size, "type": kind}
    facts |= {"producer": producer, "created_at": created_at.isoformat()}
    return LineageNode(id=f"artifact:{name}@{version}", kind="artifact", label=f"{name} v{version}", facts=facts)


def _step_node(row: Any) -> LineageNode:
    names = ("step", "run", "task_id", "map_index", "try_number", "state", "cached_from", "parameters", "error")
    facts = {**_facts(row, *names, "started_at", "ended_at"), "metrics": row.metrics}
    return LineageNode(id=f"step_run:{row.id}", kind="step_run", label=row.step, facts=facts)


def _run_node(row: Any) -> LineageNode:
    names = ("dag_id", "run_id", "pipeline", "pipeline_version", "stack", "state", "parameters", "reason")
    facts = _facts(row, *names, "triggered_by", "started_at", "ended_at")
    return LineageNode(id=f"run:{row.id}", kind="run", label=row.run_id, facts=facts)


def _model_node(row: Any, aliases: list[str]) -> LineageNode:
    facts = _facts(row, "model", "version", "state", "run", "step_run", "created_by", "created_at")
    facts |= {"metrics": row.metrics, "aliases": sorted(aliases)}
    label = f"{row.model} v{row.version}"
    return LineageNode(id=f"model:{row.model}@{row.version}", kind="model", label=label, facts=facts)


def _deployment_node(row: Any) -> LineageNode:
    facts = _facts(row, "model", "version", "phase", "url", "flavor", "stack", "revision", "updated_at")
    return LineageNode(id=f"deployment:{row.name}", kind="deployment", label=row.name, facts=facts)
