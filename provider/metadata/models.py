"""Models, their versions and aliases.

A version number and an alias are both contended: two pipelines may register at once, two people may promote at once.
Each write locks the model's row first, so that numbers have no gap and no double, and no move of an alias is lost.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads annotations
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, update

from ..errors import AliasNotFound, ArtifactNotFound, ModelNotFound, PromotionConflict, did_you_mean
from ..faults import reach
from ..names import check_name
from . import audit, schema
from .artifacts import ids_by_content
from .columns import clean_text
from .database import Database, PerDialect, in_order
from .direct import Direct
from .listing import Listing, begins
from .records import ANY, JSON, Any_, Page, Record, finite, now, page_start
from .terms import values_of
from .tombstones import refer

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterator, Mapping

    from .filters import ModelVersionFilter

ORDER = 2


class NewModelVersion(Record):
    """A model version to be registered; references as they travel through XCom.

    ``source`` says where it came from in a way that a retry repeats; without it, the step run's task instance.
    """

    model: str
    artifact: JSON
    metrics: dict[str, float] = Field(default_factory=dict)
    parameters: JSON = Field(default_factory=dict)
    input_schema: JSON | None = None
    baseline: JSON | None = None
    evaluation: JSON | None = None
    example: list[Any] | None = None
    run: str | None = None
    step_run: str | None = None
    source: str | None = None
    requirements: dict[str, str] | list[str] = Field(default_factory=dict)
    description: str | None = None
    tags: JSON = Field(default_factory=dict)
    created_by: str | None = None


class ModelVersion(NewModelVersion):
    """An immutable version of a model."""

    version: int
    state: Literal["active", "archived"] = "active"
    created_at: datetime


class Model(Record):
    """A name, its latest version, and where its aliases point."""

    name: str
    description: str | None
    latest_version: int
    aliases: dict[str, int]
    created_at: datetime


class Alias(Record):
    """A movable pointer; ``revision`` counts its moves."""

    model: str
    alias: str
    version: int
    revision: int
    updated_at: datetime


class AliasEvent(Record):
    """One move of an alias: from where (None: it was new) to where (None: it was removed), who, why, which gates."""

    id: int
    model: str
    alias: str
    from_version: int | None
    to_version: int | None
    actor: str
    reason: str | None
    gates: list[JSON]
    run: str | None
    at: datetime


class _ListedModel(Record):
    name: str
    description: str | None
    latest_version: int
    created_at: datetime


_M, _V, _A, _E, _S = (
    schema.model,
    schema.model_version,
    schema.alias,
    schema.alias_event,
    schema.step_run,
)
_NUMBERS = {"artifact": "artifact_version", "baseline": "baseline_version", "evaluation": "evaluation_version"}
_VERSION = select(*(column for column in _V.c if column.name not in _NUMBERS.values()))
_OF_MODEL = _V.c.model == bindparam("model")

_ensure = Direct(PerDialect(lambda insert: insert(_M).on_conflict_do_nothing()))
_lock = Direct(select(_M.c.name).where(_M.c.name == bindparam("model")).with_for_update())
_SOURCE = select(_S.c.run, _S.c.task_id, _S.c.map_index).where(_S.c.id == bindparam("step_run"))
_by_source = Direct(
    _VERSION.where(
        _OF_MODEL, _V.c.source == bindparam("source"), _V.c.artifact_version == bindparam("artifact_version")
    )
)
_highest = Direct(select(func.coalesce(func.max(_V.c.version), 0).label("version")).where(_OF_MODEL))
_insert = Direct(insert(_V))
_add_values = Direct(insert(schema.model_version_value))
_ONE = _VERSION.where(_OF_MODEL, _V.c.version == bindparam("version"))
_BY_ALIAS = _VERSION.join(_A, (_A.c.model == _V.c.model) & (_A.c.version == _V.c.version)).where(
    _OF_MODEL, _A.c.alias == bindparam("alias")
)
_NEWEST = _VERSION.where(_OF_MODEL).order_by(_V.c.version.desc()).limit(1)
_VERSIONS = Listing(ModelVersion, _VERSION, [_V.c.created_at, _V.c.model, _V.c.version])
_VERSIONS_OF_ONE = Listing(ModelVersion, _VERSION, [_V.c.version])
_latest = func.coalesce(
    select(func.max(_V.c.version)).where(_V.c.model == _M.c.name).correlate(_M).scalar_subquery(), 0
)
_MODELS = Listing(
    _ListedModel,
    select(_M.c.name, _M.c.description, _latest.label("latest_version"), _M.c.created_at),
    [_M.c.name],
    newest_first=False,
)
_MODEL = select(_M.c.name, _M.c.description, _latest.label("latest_version"), _M.c.created_at).where(
    _M.c.name == bindparam("model")
)
_ALIASES = select(_A).where(_A.c.model == bindparam("model")).order_by(_A.c.alias)
_ALIASES_OF = select(_A.c.model, _A.c.alias, _A.c.version).where(_A.c.model.in_(bindparam("models", expanding=True)))
_alias = Direct(select(_A).where(_A.c.model == bindparam("model"), _A.c.alias == bindparam("alias")))
_set_alias = Direct(
    PerDialect(
        lambda insert: (statement := insert(_A)).on_conflict_do_update(
            index_elements=[_A.c.model, _A.c.alias],
            set_={name: statement.excluded[name] for name in ("version", "revision", "updated_at")},
        )
    )
)
_REMOVE_ALIAS = delete(_A).where(_A.c.model == bindparam("model"), _A.c.alias == bindparam("alias"))
_add_event = Direct(insert(_E))
_EVENTS = select(_E).where(_E.c.model == bindparam("model"), _E.c.id < bindparam("before"))
_EVENTS_OF_ALIAS = _EVENTS.where(_E.c.alias == bindparam("alias"))
_SINCE = select(_E).where(_E.c.model == bindparam("model"), _E.c.id > bindparam("after_id"))
_SINCE_OF_ALIAS = _SINCE.where(_E.c.alias == bindparam("alias"))
_SET_STATE = (
    update(_V)
    .where(_V.c.model == bindparam("of_model"), _V.c.version == bindparam("of_version"))
    .values(state=bindparam("new_state"))
)


class Models:
    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, new: NewModelVersion) -> ModelVersion:
        """The next version of the model; the one there is when the same source registered the same artifact before.

        Safe in a race: numbers are 1, 2, 3… without gap or double. Raises ``ArtifactNotFound`` if the artifact, the
        baseline or the evaluation data are not recorded.
        """
        check_name("model", new.model)

        def work(connection: Connection) -> ModelVersion:
            ensured = {"name": new.model, "description": None, "created_at": now()}
            _ensure(connection, ensured)
            _lock.rows(connection, {"model": new.model})
            numbers = _numbers(connection, new)
            source = new.source or _source(connection, new.step_run)
            key = {"model": new.model, "source": source, "artifact_version": numbers["artifact_version"]}
            if source is not None and (rows := _by_source.rows(connection, key)):
                return ModelVersion(**rows[0])
            version = ModelVersion(
                **{**new.model_dump(), "source": source},
                version=_highest.rows(connection, {"model": new.model})[0]["version"] + 1,
                created_at=now(),
            )
            values = {**version.model_dump(), **numbers, "metrics": finite(new.metrics)}
            refer(connection, _uris(new))
            _insert(connection, values)
            if found := [*_values(version)]:
                _add_values(connection, found)
            reach("metadata.models.register")
            after = {"version": version.version, "artifact": new.artifact}
            audit.append(connection, new.created_by or "unknown", "register", "model", new.model, None, after)
            return version

        return self._database.write(work)

    def find(self, model: str, *, version: int | None = None, alias: str | None = None) -> ModelVersion | None:
        """The version of that number or under that alias, else the latest; None if there is none."""
        statement = _ONE if version is not None else _BY_ALIAS if alias is not None else _NEWEST
        values = {"model": model, "version": version, "alias": alias}
        row = self._database.fetch(lambda connection: connection.execute(statement, values).mappings().first())
        return None if row is None else ModelVersion(**row)

    def get(self, model: str, *, version: int | None = None, alias: str | None = None) -> ModelVersion:
        """The version of that number or under that alias, else the latest.

        Raises ``ModelNotFound``, or ``AliasNotFound`` when the model is there and the alias is not.
        """
        found = self.find(model, version=version, alias=alias)
        if found is not None:
            return found
        latest = self._must_exist(model)
        if version is None and alias is not None:
            raise AliasNotFound(
                f'Model "{model}" has no alias "{alias}".',
                hint=did_you_mean(alias, self.aliases(model)),
                model=model,
                alias=alias,
            )
        raise ModelNotFound(
            f'Model "{model}" has no version {version}; the latest is {latest}.',
            hint=f"List them: windsock model show {model}",
            model=model,
            version=version,
        )

    def list(self, limit: int = 1000, after: str = "", *, prefix: str | None = None) -> Page[Model]:
        """Models by name: two statements a page, three with a prefix."""
        terms = begins(_M.c.name, prefix, lambda condition: select(_M.c.name).where(condition))
        page = _MODELS.page(self._database, terms, limit=limit, before=after or None)
        names = [model.name for model in page]
        found = self._database.fetch(lambda connection: connection.execute(_ALIASES_OF, {"models": names}).all())
        pointing: dict[str, dict[str, int]] = {}
        for model, alias, version in found:
            pointing.setdefault(model, {})[alias] = version
        return Page(tuple(Model(**dict(model), aliases=pointing.get(model.name, {})) for model in page), page.next)

    def versions(self, model: str, limit: int = 100, before: str | int | None = None) -> Page[ModelVersion]:
        """The versions of one model, the newest first. Empty when there is no such model."""
        from .filters import ModelVersionFilter

        return self.search(ModelVersionFilter(model=model), limit, before)

    def search(
        self, wanted: ModelVersionFilter, limit: int = 100, before: str | int | None = None
    ) -> Page[ModelVersion]:
        """The versions that meet the filter, the newest first; those of one model by their number."""
        from .model_search import terms

        listing = _VERSIONS if wanted.model is None else _VERSIONS_OF_ONE
        return listing.page(self._database, terms(wanted), limit=limit, before=before)

    def set_alias(
        self,
        model: str,
        alias: str,
        version: int,
        *,
        expected: int | Any_ | None = ANY,
        actor: str,
        reason: str | None = None,
        gates: builtins.list[JSON] | None = None,
        run: str | None = None,
    ) -> Alias:
        """Point the alias at the version; history and audit are written in the same transaction.

        ``expected`` is the version the caller saw when deciding (None: there was no such alias); if it points
        elsewhere by now, ``PromotionConflict``. An alias that points there already is left alone when ``expected`` is
        ANY or that version, or when the same ``run`` moved it there: that is a retry.
        Raises ``ModelNotFound`` also for an archived version.
        """
        check_name("alias", alias)

        def work(connection: Connection) -> Alias:
            present = self._locked(connection, model, alias)
            current = present.version if present else None
            if present is not None and current == version:
                retried = run is not None and _last_event(connection, model, alias).run == run
                if retried or expected is ANY or expected == current:
                    return present
            if expected is not ANY and expected != current:
                raise _conflict(model, alias, expected, current, version)
            self._must_be_active(connection, model, version)
            revision = present.revision + 1 if present else _revisions(connection, model, alias) + 1
            moved = Alias(model=model, alias=alias, version=version, revision=revision, updated_at=now())
            _set_alias(connection, moved.model_dump())
            reach("metadata.models.set_alias")
            _log(connection, moved, current, version, actor=actor, reason=reason, gates=gates or [], run=run)
            return moved

        return self._database.write(work)

    def remove_alias(
        self,
        model: str,
        alias: str,
        *,
        expected: int | Any_ | None = ANY,
        actor: str,
        reason: str | None = None,
        run: str | None = None,
    ) -> None:
        """Take the alias away; its history stays. Raises ``AliasNotFound``, ``PromotionConflict``."""

        def work(connection: Connection) -> None:
            present = self._locked(connection, model, alias)
            if present is None:
                raise AliasNotFound(f'Model "{model}" has no alias "{alias}".', model=model, alias=alias)
            if expected is not ANY and expected != present.version:
                raise _conflict(model, alias, expected, present.version, None)
            connection.execute(_REMOVE_ALIAS, {"model": model, "alias": alias})
            _log(connection, present, present.version, None, actor=actor, reason=reason, gates=[], run=run)

        self._database.write(work)

    def aliases(self, model: str) -> dict[str, Alias]:
        """Every alias of the model, by name."""
        rows = self._database.fetch(lambda c: c.execute(_ALIASES, {"model": model}).mappings().all())
        return {row["alias"]: Alias(**row) for row in rows}

    def history(
        self, model: str, alias: str | None = None, limit: int = 1000, before: str | int | None = None
    ) -> builtins.list[AliasEvent]:
        """The moves of the model's aliases, or of one, the newest first."""
        statement = (_EVENTS if alias is None else _EVENTS_OF_ALIAS).order_by(_E.c.id.desc()).limit(limit)
        values = {"model": model, "alias": alias, "before": page_start(before, 2**63 - 1)}
        return self._events(statement, values)

    def since(
        self, model: str, alias: str | None = None, after_id: int = 0, limit: int = 1000
    ) -> builtins.list[AliasEvent]:
        """The moves after the event ``after_id``, the oldest first: a sensor's cursor. None is ever skipped."""
        statement = (_SINCE if alias is None else _SINCE_OF_ALIAS).order_by(_E.c.id).limit(limit)
        return self._events(statement, {"model": model, "alias": alias, "after_id": after_id})

    def archive(self, model: str, version: int, actor: str, reason: str | None = None) -> ModelVersion:
        """Mark a version as not to be used again.

        Raises ``PromotionConflict`` while an alias points at it (``aliases``) or a deployment serves it
        (``deployments``).
        """

        def work(connection: Connection) -> ModelVersion:
            _lock.rows(connection, {"model": model})
            row = connection.execute(_ONE, {"model": model, "version": version}).mappings().first()
            if row is None:
                raise ModelNotFound(f'Model "{model}" has no version {version}.', model=model, version=version)
            present = ModelVersion(**row)
            if present.state == "archived":
                return present
            held = [r.alias for r in connection.execute(_ALIASES, {"model": model}) if r.version == version]
            if held:
                raise PromotionConflict(
                    f'"{model}" version {version} is not archived: alias "{held[0]}" points at it.',
                    hint=f"Promote another version to it first: windsock model promote {model}",
                    model=model,
                    version=version,
                    aliases=held,
                )
            if live := [*connection.execute(_SERVING, {"model": model, "version": version}).scalars()]:
                raise PromotionConflict(
                    f'"{model}" version {version} is not archived: deployment "{live[0]}" serves it.',
                    hint=f"windsock deployment delete {live[0]}",
                    model=model,
                    version=version,
                    deployments=live,
                )
            values = {"of_model": model, "of_version": version, "new_state": "archived"}
            connection.execute(_SET_STATE, values)
            before, after = {"state": "active"}, {"state": "archived", "version": version}
            audit.append(connection, actor, "archive", "model", model, before, after, reason)
            return present.model_copy(update={"state": "archived"})

        return self._database.write(work)

    def _events(self, statement: Select[Any], values: Mapping[str, Any]) -> builtins.list[AliasEvent]:
        rows = self._database.fetch(lambda connection: connection.execute(statement, values).mappings().all())
        return [AliasEvent(**row) for row in rows]

    def _must_exist(self, model: str) -> int:
        """The latest version number. Raises ``ModelNotFound``."""
        row = self._database.fetch(lambda connection: connection.execute(_MODEL, {"model": model}).mappings().first())
        if row is None:
            names = [m.name for m in self.list(limit=200)]
            raise ModelNotFound(f'Model "{model}" is not registered.', hint=did_you_mean(model, names), model=model)
        return int(row["latest_version"])

    def _locked(self, connection: Connection, model: str, alias: str) -> Alias | None:
        if not _lock.rows(connection, {"model": model}):
            raise ModelNotFound(f'Model "{model}" is not registered.', hint="windsock model list", model=model)
        rows = _alias.rows(connection, {"model": model, "alias": alias})
        return Alias(**rows[0]) if rows else None

    def _must_be_active(self, connection: Connection, model: str, version: int) -> None:
        found = _state.rows(connection, {"model": model, "version": version})
        state = found[0]["state"] if found else None
        if state == "active":
            return
        it = "has no" if state is None else "has archived its"
        raise ModelNotFound(
            f'Model "{model}" {it} version {version}.',
            hint=f"List them: windsock model show {model}",
            model=model,
            version=version,
        )


_state = Direct(select(_V.c.state).where(_OF_MODEL, _V.c.version == bindparam("version")))
_D = schema.deployment
_SERVING = (
    select(_D.c.name)
    .where(_D.c.model == bindparam("model"), _D.c.version == bindparam("version"), _D.c.phase.in_(("pending", "ready")))
    .order_by(_D.c.name)
)
_LAST_EVENT = _EVENTS_OF_ALIAS.order_by(_E.c.id.desc()).limit(1)
_COUNT_EVENTS = select(func.count()).where(_E.c.model == bindparam("model"), _E.c.alias == bindparam("alias"))


def _last_event(connection: Connection, model: str, alias: str) -> AliasEvent:
    values = {"model": model, "alias": alias, "before": 2**63 - 1}
    return AliasEvent(**connection.execute(_LAST_EVENT, values).mappings().one())


def _revisions(connection: Connection, model: str, alias: str) -> int:
    """Moves so far of an alias that is not there: its revision goes on counting if it comes back."""
    return int(connection.execute(_COUNT_EVENTS, {"model": model, "alias": alias}).scalar_one())


def _log(
    connection: Connection,
    alias: Alias,
    before: int | None,
    after: int | None,
    *,
    actor: str,
    reason: str | None,
    gates: list[JSON],
    run: str | None,
) -> None:
    in_order(connection, ORDER)
    _add_event(
        connection,
        {
            "model": alias.model,
            "alias": alias.alias,
            "from_version": before,
            "to_version": after,
            "actor": actor,
            "reason": clean_text(reason),
            "gates": gates,
            "run": run,
            "at": now(),
        },
    )
    action = "promote" if after is not None else "remove_alias"
    old = None if before is None else {"alias": alias.alias, "version": before}
    new = None if after is None else {"alias": alias.alias, "version": after}
    audit.append(connection, actor, action, "model", alias.model, old, new, reason)


def _conflict(model: str, alias: str, expected: Any, current: int | None, wanted: int | None) -> PromotionConflict:
    def point(version: Any) -> str:
        return "nothing" if version is None else f"version {version}"

    doing = f"promoting {wanted}" if wanted is not None else "removing it"
    return PromotionConflict(
        f'"{model}" alias "{alias}" moved from {point(expected)} to {point(current)} while you were {doing}.',
        hint=f"Read it again and decide: windsock model show {model}",
        model=model,
        alias=alias,
        expected=expected,
        current=current,
    )


def _uris(version: NewModelVersion) -> list[str]:
    """Where the content is that a model version refers to."""
    return [ref["uri"] for ref in (version.artifact, version.baseline, version.evaluation) if ref and "uri" in ref]


def _values(version: ModelVersion) -> Iterator[JSON]:
    """What the version will be found by."""
    for kind, given in (("metric", version.metrics), ("parameter", version.parameters), ("tag", version.tags)):
        for value in values_of(given):
            yield {"model": version.model, "version": version.version, "kind": kind, **value}


def _source(connection: Connection, step_run: str | None) -> str | None:
    """The task instance behind the step run, without its try number: what a retry has in common."""
    if step_run is None:
        return None
    row = connection.execute(_SOURCE, {"step_run": step_run}).first()
    return f"{row.run}/{row.task_id}/{row.map_index}" if row is not None else step_run


def _numbers(connection: Connection, new: NewModelVersion) -> dict[str, int | None]:
    """The rows of the artifact, the baseline and the evaluation data: what lineage follows."""
    refs = {name: ref for name in _NUMBERS if (ref := getattr(new, name)) is not None}
    found = ids_by_content(connection, ((ref["artifact"], ref["digest"]) for ref in refs.values()))
    numbers: dict[str, int | None] = dict.fromkeys(_NUMBERS.values())
    for name, ref in refs.items():
        number = found.get((ref["artifact"], ref["digest"]))
        if number is None:
            raise ArtifactNotFound(
                f'The {name} of model "{new.model}", "{ref["artifact"]}" ({ref["digest"][:19]}…), is not recorded.',
                hint="Record it first: metadata.artifacts.record(...)",
                artifact=ref["artifact"],
                digest=ref["digest"],
            )
        numbers[_NUMBERS[name]] = number
    return numbers
