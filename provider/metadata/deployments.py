"""Deployments: what serves, and every change of what serves.

One row a deployment, changed only by compare-and-set on its ``revision``; one event a change, never altered.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads annotations
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from sqlalchemy import Connection, bindparam, insert, select, update

from ..errors import Conflict, DeploymentNotFound, ModelNotFound, did_you_mean
from ..faults import reach
from ..names import check_name
from . import audit, schema
from .columns import clean_text
from .database import Database, PerDialect, in_order
from .listing import Listing, Term, begins, equals
from .records import ANY, JSON, Any_, Page, Record, now, page_start
from .tombstones import refer

if TYPE_CHECKING:
    import builtins

    from .filters import DeploymentFilter

ORDER = 3

Phase = Literal["pending", "ready", "failed", "deleted"]


class Deployment(Record):
    """A served model. ``handle`` is what the deployer needs to find it again; ``revision`` counts the changes.

    ``revision``, ``created_at`` and ``updated_at`` are set by :meth:`Deployments.put`; leave them out when making one.
    """

    name: str
    model: str
    version: int
    previous_version: int | None = None
    phase: Phase
    url: str | None = None
    flavor: str
    stack: str | None = None
    handle: JSON = Field(default_factory=dict)
    revision: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None


class DeploymentEvent(Record):
    """One change of a deployment: what was done, from which version to which, who and why."""

    id: int
    deployment: str
    action: str
    from_version: int | None
    to_version: int | None
    actor: str
    reason: str | None
    at: datetime


_D, _E, _V = schema.deployment, schema.deployment_event, schema.model_version
_ONE = select(_D).where(_D.c.name == bindparam("name"))
_LOCKED = _ONE.with_for_update()
_LIST = Listing(Deployment, select(_D), [_D.c.name], newest_first=False)
_there = Term(("there",), lambda see: see(_D.c.phase) != "deleted")
_VERSION = select(_V.c.version, _V.c.state, _V.c.artifact, _V.c.baseline).where(
    _V.c.model == bindparam("model"), _V.c.version == bindparam("version")
)
_CREATE = PerDialect(lambda insert: insert(_D).on_conflict_do_nothing())
_CHANGE = (
    update(_D)
    .where(_D.c.name == bindparam("of_name"), _D.c.revision == bindparam("of_revision"))
    .values({column.name: bindparam(f"new_{column.name}") for column in _D.c if column.name != "name"})
)
_ADD_EVENT = insert(_E)
_EVENTS = (
    select(_E)
    .where(_E.c.deployment == bindparam("name"), _E.c.id < bindparam("before"))
    .order_by(_E.c.id.desc())
    .limit(bindparam("limit"))
)
_SINCE = (
    select(_E)
    .where(_E.c.deployment == bindparam("name"), _E.c.id > bindparam("after_id"))
    .order_by(_E.c.id)
    .limit(bindparam("limit"))
)


class Deployments:
    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self,
        deployment: Deployment,
        *,
        expected_revision: int | None,
        actor: str = "unknown",
        action: str | None = None,
        reason: str | None = None,
    ) -> Deployment:
        """Create the deployment (``expected_revision=None``) or change it from the revision that the caller read.

        Event and audit are written in the same transaction. A deleted deployment may be created again; its history
        goes on. Raises ``Conflict`` when somebody was faster, ``ModelNotFound`` for an unknown model version.
        """
        check_name("deployment", deployment.name)

        def work(connection: Connection) -> Deployment:
            row = connection.execute(_LOCKED, {"name": deployment.name}).mappings().first()
            present = None if row is None else Deployment(**row)
            found = None if present is None or (present.phase == "deleted" and expected_revision is None) else present
            if (None if found is None else found.revision) != expected_revision:
                raise _conflict(deployment.name, expected_revision, found)
            key = {"model": deployment.model, "version": deployment.version}
            version = connection.execute(_VERSION, key).first()
            if version is None:
                raise ModelNotFound(
                    f'Model "{deployment.model}" has no version {deployment.version}.',
                    hint=f"List them: windsock model show {deployment.model}",
                    **key,
                )
            if version.state == "archived" and deployment.phase != "deleted":  # only active ones are safe from pruning
                refer(connection, [ref["uri"] for ref in (version.artifact, version.baseline) if ref and "uri" in ref])
            return _write(connection, deployment, present, actor=actor, action=action, reason=reason)

        return self._database.write(work)

    def find(self, name: str) -> Deployment | None:
        """The deployment, or None if there is none or it was deleted."""
        row = self._database.fetch(lambda connection: connection.execute(_ONE, {"name": name}).mappings().first())
        return None if row is None or row["phase"] == "deleted" else Deployment(**row)

    def get(self, name: str) -> Deployment:
        """Raises ``DeploymentNotFound``."""
        found = self.find(name)
        if found is None:
            names = [deployment.name for deployment in self.list(limit=200)]
            raise DeploymentNotFound(
                f'There is no deployment "{name}".', hint=did_you_mean(name, names), deployment=name
            )
        return found

    def list(self, limit: int = 1000, after: str = "", *, model: str | None = None) -> Page[Deployment]:
        """Deployments that are not deleted, by name."""
        from .filters import DeploymentFilter

        return self.search(DeploymentFilter(model=model), limit, after)

    def search(self, wanted: DeploymentFilter, limit: int = 1000, after: str = "") -> Page[Deployment]:
        """The deployments that meet the filter, by name."""
        terms = [
            *equals(_D.c.model, wanted.model),
            *equals(_D.c.version, wanted.version),
            *equals(_D.c.phase, wanted.phase),
            *equals(_D.c.stack, wanted.stack),
            *begins(_D.c.name, wanted.prefix, lambda condition: select(_D.c.name).where(condition)),
            *([] if wanted.phase is not None else [_there]),
        ]
        return _LIST.page(self._database, terms, limit=limit, before=after or None)

    def history(self, name: str, limit: int = 1000, before: str | int | None = None) -> builtins.list[DeploymentEvent]:
        """Every change, the newest first."""
        values = {"name": name, "limit": limit, "before": page_start(before, 2**63 - 1)}
        rows = self._database.fetch(lambda connection: connection.execute(_EVENTS, values).mappings().all())
        return [DeploymentEvent(**row) for row in rows]

    def since(self, name: str, after_id: int = 0, limit: int = 1000) -> builtins.list[DeploymentEvent]:
        """The changes after the event ``after_id``, the oldest first: a sensor's cursor."""
        values = {"name": name, "limit": limit, "after_id": after_id}
        rows = self._database.fetch(lambda connection: connection.execute(_SINCE, values).mappings().all())
        return [DeploymentEvent(**row) for row in rows]

    def delete(
        self,
        name: str,
        *,
        actor: str = "unknown",
        reason: str | None = None,
        expected_revision: int | Any_ = ANY,
    ) -> Deployment:
        """Mark it deleted; its history stays. Raises ``DeploymentNotFound``, ``Conflict``."""

        def work(connection: Connection) -> Deployment:
            row = connection.execute(_LOCKED, {"name": name}).mappings().first()
            if row is None or row["phase"] == "deleted":
                raise DeploymentNotFound(f'There is no deployment "{name}".', deployment=name)
            present = Deployment(**row)
            if expected_revision is not ANY and expected_revision != present.revision:
                raise _conflict(name, expected_revision, present)
            gone = present.model_copy(update={"phase": "deleted", "url": None})
            return _write(connection, gone, present, actor=actor, action="delete", reason=reason)

        return self._database.write(work)


def _write(
    connection: Connection,
    wanted: Deployment,
    present: Deployment | None,
    *,
    actor: str,
    action: str | None,
    reason: str | None,
) -> Deployment:
    at = now()
    stored = wanted.model_copy(
        update={
            "revision": 1 if present is None else present.revision + 1,
            "created_at": at if present is None else present.created_at,
            "updated_at": at,
        }
    )
    values = stored.model_dump()
    if present is None:
        changed = connection.execute(_CREATE(connection), values).rowcount
    else:
        new = {f"new_{name}": value for name, value in values.items() if name != "name"}
        changed = connection.execute(_CHANGE, {"of_name": stored.name, "of_revision": present.revision, **new}).rowcount
    if changed != 1:
        raise _conflict(stored.name, None if present is None else present.revision, None)
    reach("metadata.deployments.put")
    before_version = None if present is None or present.phase == "deleted" else present.version
    in_order(connection, ORDER)
    done = action or ("create" if before_version is None else "update")
    event = {
        "deployment": stored.name,
        "action": done,
        "from_version": before_version,
        "to_version": None if stored.phase == "deleted" else stored.version,
        "actor": actor,
        "reason": clean_text(reason),
        "at": at,
    }
    connection.execute(_ADD_EVENT, event)
    before = None if present is None else _facts(present)
    audit.append(connection, actor, done, "deployment", stored.name, before, _facts(stored), reason)
    return stored


def _facts(deployment: Deployment) -> JSON:
    """What an auditor needs; the handle stays out, it is the deployer's own."""
    return deployment.model_dump(include={"model", "version", "phase", "url", "flavor", "stack"})


def _conflict(name: str, expected: Any, present: Deployment | None) -> Conflict:
    was = "not to exist" if expected is None else f"at revision {expected}"
    found = "it does not exist" if present is None else f"it is at revision {present.revision} ({present.phase})"
    return Conflict(
        f'Deployment "{name}" was expected {was}; {found}.',
        hint=f"Read it again and decide: windsock deployment show {name}",
        deployment=name,
    )
