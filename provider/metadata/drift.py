"""Drift reports, and the claims by which one drift starts one retraining."""

from __future__ import annotations

from datetime import datetime, timedelta  # noqa: TC003 - pydantic reads annotations
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from pydantic import Field
from sqlalchemy import Connection, bindparam, insert, select, update

from ..errors import RecordNotFound
from ..faults import reach
from ..names import check_name
from . import schema
from .columns import as_utc
from .database import Database, PerDialect, in_order
from .listing import Listing, Term, between, equals
from .records import JSON, Page, Record, now

if TYPE_CHECKING:
    import builtins

    from .filters import DriftFilter

ORDER = 4


class NewDriftReport(Record):
    """The outcome of one comparison of a window of data with a model version's baseline.

    ``features``: name to ``{"status", "metrics", "reason"}``. ``edges_id`` names the binning of the profile.
    """

    model: str
    version: int
    deployment: str | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None
    rows: int
    drifted: bool
    drift_share: float
    features: JSON = Field(default_factory=dict)
    reasons: list[Any] = Field(default_factory=list)
    edges_id: str | None = None
    report_uri: str | None = None
    json_uri: str | None = None
    step_run: str | None = None

    @property
    def key(self) -> str:
        """What makes two reports the same one: the same window of the same thing, looked at in the same way."""
        window = (None if t is None else as_utc(t).isoformat() for t in (self.window_start, self.window_end))
        parts = (self.model, str(self.version), self.deployment, *window, self.edges_id)
        text = "".join("-" if part is None else f"{len(part)}:{part}" for part in parts)
        return blake2b(text.encode(), digest_size=16).hexdigest()


class DriftReport(NewDriftReport):
    """A recorded report; ``id`` grows with time and is what a sensor remembers."""

    id: int
    created_at: datetime


_R, _K, _C = schema.drift_report, schema.drift_consumer, schema.drift_claim
_REPORT = select(*(column for column in _R.c if column.name != "key"))
_BY_KEY = _REPORT.where(_R.c.key == bindparam("key"))
_BY_ID = _REPORT.where(_R.c.id == bindparam("report"))
_NEWEST_FIRST = Listing(DriftReport, _REPORT, [_R.c.created_at, _R.c.id])
_IN_ORDER = Listing(DriftReport, _REPORT, [_R.c.id], newest_first=False)
_INSERT = insert(_R)
_ENSURE_CONSUMER = PerDialect(lambda insert: insert(_K).on_conflict_do_nothing())
_LOCK_CONSUMER = select(_K.c.claimed_at).where(_K.c.name == bindparam("consumer")).with_for_update()
_CLAIM = select(_C.c.claimant).where(_C.c.consumer == bindparam("consumer"), _C.c.report == bindparam("report"))
_ADD_CLAIM = insert(_C)
_LAST_CLAIM = select(_K.c.claimed_at).where(_K.c.name == bindparam("consumer"))
_TOUCH = update(_K).where(_K.c.name == bindparam("consumer")).values(claimed_at=bindparam("at"))


class Drift:
    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, new: NewDriftReport) -> DriftReport:
        """Record a report. The same window of the same version, deployment and binning is recorded once."""

        def work(connection: Connection) -> DriftReport:
            in_order(connection, ORDER)
            row = connection.execute(_BY_KEY, {"key": new.key}).mappings().first()
            if row is not None:
                return DriftReport(**row)
            values = {**new.model_dump(), "created_at": now()}
            key = connection.execute(_INSERT, {**values, "key": new.key}).inserted_primary_key
            assert key is not None
            reach("metadata.drift.record")
            return DriftReport(id=key[0], **values)

        return self._database.write(work)

    def find(self, report_id: int) -> DriftReport | None:
        row = self._database.fetch(lambda c: c.execute(_BY_ID, {"report": report_id}).mappings().first())
        return None if row is None else DriftReport(**row)

    def get(self, report_id: int) -> DriftReport:
        """Raises ``RecordNotFound``."""
        found = self.find(report_id)
        if found is None:
            raise RecordNotFound(
                f"There is no drift report {report_id}.", hint="List them: windsock drift list", report=report_id
            )
        return found

    def latest(self, model: str | None = None, deployment: str | None = None) -> DriftReport | None:
        """The newest report of the model, of the deployment, or at all; None if there is none."""
        found = self.list(model, deployment, 1)
        return found[0] if found else None

    def list(
        self,
        model: str | None = None,
        deployment: str | None = None,
        limit: int = 100,
        before: str | int | None = None,
        *,
        drifted: bool | None = None,
    ) -> Page[DriftReport]:
        """Reports, the newest first."""
        from .filters import DriftFilter

        return self.search(DriftFilter(model=model, deployment=deployment, drifted=drifted), limit, before)

    def search(self, wanted: DriftFilter, limit: int = 100, before: str | int | None = None) -> Page[DriftReport]:
        """The reports that meet the filter, the newest first."""
        terms = [
            *_about(wanted.model, wanted.deployment, wanted.drifted),
            *equals(_R.c.version, wanted.version),
            *between(_R.c.created_at, wanted.since, wanted.until),
        ]
        return _NEWEST_FIRST.page(self._database, terms, limit=limit, before=before)

    def since(
        self,
        after_id: int,
        model: str | None = None,
        deployment: str | None = None,
        drifted: bool | None = None,
        limit: int = 1000,
    ) -> builtins.list[DriftReport]:
        """The reports after ``after_id``, the oldest first: a sensor's cursor. None is ever skipped."""
        terms = _about(model, deployment, drifted)
        return [*_IN_ORDER.page(self._database, terms, limit=limit, before=after_id)]

    def claim(
        self,
        report_id: int,
        consumer: str,
        *,
        cooldown: timedelta | None = None,
        now: datetime | None = None,
        claimant: str | None = None,
    ) -> bool:
        """Whether ``consumer`` may act on the report: True once for each of the two, and never within the cool-down
        after that consumer's last claim (of any report).

        ``claimant`` names who asks (a task instance without its try number): the one that got True gets it again, so
        that a task killed between its claim and its deed can do it on retry. Raises ``RecordNotFound``.
        """
        check_name("consumer", consumer)
        at = as_utc(now) if now is not None else _now()
        key = {"consumer": consumer, "report": report_id}

        def work(connection: Connection) -> bool:
            connection.execute(_ENSURE_CONSUMER(connection), {"name": consumer, "claimed_at": None})
            last = connection.execute(_LOCK_CONSUMER, key).scalar_one()
            earlier = connection.execute(_CLAIM, key).first()
            if earlier is not None:
                return claimant is not None and earlier.claimant == claimant
            if last is not None and cooldown is not None and at < last + cooldown:
                return False
            connection.execute(_ADD_CLAIM, {**key, "claimant": claimant, "at": at})
            connection.execute(_TOUCH, {"consumer": consumer, "at": max(at, last) if last else at})
            reach("metadata.drift.claim")
            return True

        self.get(report_id)
        return self._database.write(work)

    def claimable(
        self, report_id: int, consumer: str, *, cooldown: timedelta | None = None, now: datetime | None = None
    ) -> bool:
        """Whether :meth:`claim` would succeed for a new claimant: what a sensor asks while it waits. Writes nothing."""
        at = as_utc(now) if now is not None else _now()
        key = {"consumer": consumer, "report": report_id}

        def look(connection: Connection) -> bool:
            if connection.execute(_CLAIM, key).first() is not None:
                return False
            last = connection.execute(_LAST_CLAIM, key).scalar()
            return last is None or cooldown is None or at >= last + cooldown

        return self._database.fetch(look)


def _about(model: str | None, deployment: str | None, drifted: bool | None) -> builtins.list[Term]:
    return [*equals(_R.c.model, model), *equals(_R.c.deployment, deployment), *equals(_R.c.drifted, drifted)]


_now = now
