"""Performance reports: how good a deployed model was in a window, as far as its true values are known."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads annotations
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from pydantic import Field
from sqlalchemy import Connection, bindparam, insert, select

from ..errors import RecordNotFound
from ..faults import reach
from . import schema
from .columns import as_utc
from .database import Database, in_order
from .listing import Listing, equals
from .records import JSON, Page, Record, now

if TYPE_CHECKING:
    import builtins

    from .listing import Term

ORDER = 5


class NewPerformanceReport(Record):
    """What was found of one window of a model version.

    ``metrics``: ``{"realised": {name: {"value", "low", "high", "rows"}}, "estimated": {…}}``. ``labelled``: rows whose
    true value is known; ``mature``: no more of them are to be expected that would change much.
    """

    model: str
    version: int
    deployment: str | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None
    rows: int
    labelled: int
    mature: bool
    metrics: JSON = Field(default_factory=dict)
    report_uri: str | None = None
    step_run: str | None = None

    @property
    def key(self) -> str:
        """The same window with as many labels is the same report; more labels make a new one."""
        window = (None if t is None else as_utc(t).isoformat() for t in (self.window_start, self.window_end))
        parts = (self.model, str(self.version), self.deployment, *window, str(self.rows), str(self.labelled))
        text = "".join("-" if part is None else f"{len(part)}:{part}" for part in parts)
        return blake2b(text.encode(), digest_size=16).hexdigest()


class PerformanceReport(NewPerformanceReport):
    """A recorded report; ``id`` grows with time and is what a sensor remembers."""

    id: int
    created_at: datetime


_R = schema.performance_report
_REPORT = select(*(column for column in _R.c if column.name != "key"))
_BY_KEY = _REPORT.where(_R.c.key == bindparam("key"))
_BY_ID = _REPORT.where(_R.c.id == bindparam("report"))
_NEWEST_FIRST = Listing(PerformanceReport, _REPORT, [_R.c.created_at, _R.c.id])
_IN_ORDER = Listing(PerformanceReport, _REPORT, [_R.c.id], newest_first=False)
_INSERT = insert(_R)


class Performance:
    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, new: NewPerformanceReport) -> PerformanceReport:
        """Record a report. The same window with the same rows and labels is recorded once."""

        def work(connection: Connection) -> PerformanceReport:
            in_order(connection, ORDER)
            row = connection.execute(_BY_KEY, {"key": new.key}).mappings().first()
            if row is not None:
                return PerformanceReport(**row)
            values = {**new.model_dump(), "created_at": now()}
            key = connection.execute(_INSERT, {**values, "key": new.key}).inserted_primary_key
            assert key is not None
            reach("metadata.performance.record")
            return PerformanceReport(id=key[0], **values)

        return self._database.write(work)

    def get(self, report_id: int) -> PerformanceReport:
        """Raises ``RecordNotFound``."""
        row = self._database.fetch(lambda c: c.execute(_BY_ID, {"report": report_id}).mappings().first())
        if row is None:
            raise RecordNotFound(f"There is no performance report {report_id}.", report=report_id)
        return PerformanceReport(**row)

    def latest(self, model: str | None = None, deployment: str | None = None) -> PerformanceReport | None:
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
        version: int | None = None,
    ) -> Page[PerformanceReport]:
        """Reports, the newest first."""
        terms = [*_about(model, deployment), *equals(_R.c.version, version)]
        return _NEWEST_FIRST.page(self._database, terms, limit=limit, before=before)

    def since(
        self, after_id: int, model: str | None = None, deployment: str | None = None, limit: int = 1000
    ) -> builtins.list[PerformanceReport]:
        """The reports after ``after_id``, the oldest first: a sensor's cursor. None is ever skipped."""
        return [*_IN_ORDER.page(self._database, _about(model, deployment), limit=limit, before=after_id)]


def _about(model: Any, deployment: Any) -> list[Term]:
    return [*equals(_R.c.model, model), *equals(_R.c.deployment, deployment)]
