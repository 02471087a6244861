"""What a :class:`~.filters.RunFilter` means in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, select

from . import schema
from .listing import Term, between, compares, equals

if TYPE_CHECKING:
    from .filters import RunFilter, Where

_R, _S, _M, _P = schema.run, schema.step_run, schema.metric, schema.run_parameter


def terms(wanted: RunFilter) -> list[Term]:
    return [
        *equals(_R.c.pipeline, wanted.pipeline),
        *equals(_R.c.dag_id, wanted.dag_id),
        *equals(_R.c.state, wanted.state),
        *equals(_R.c.stack, wanted.stack),
        *between(_R.c.started_at, wanted.since, wanted.until),
        *(_metric(number, where) for number, where in enumerate(wanted.metrics)),
        *(_parameter(number, where) for number, where in enumerate(wanted.parameters)),
    ]


def _metric(number: int, where: Where) -> Term:
    def walk(condition: ColumnElement[bool]) -> ColumnElement[bool]:
        metrics = select(_S.c.id).join(_M, _M.c.step_run == _S.c.id).correlate(_R)
        return metrics.where(_S.c.run == _R.c.id, _M.c.latest, condition).exists()

    def gather(condition: ColumnElement[bool]) -> Select[Any]:
        metrics = select(_S.c.run.label("id")).select_from(_M).join(_S, _S.c.id == _M.c.step_run)
        return metrics.where(_M.c.latest, condition)

    return compares("metric", number, where, walk=walk, gather=gather, name=_M.c.key, value=_M.c.value)


def _parameter(number: int, where: Where) -> Term:
    def walk(condition: ColumnElement[bool]) -> ColumnElement[bool]:
        return select(_P.c.run).correlate(_R).where(_P.c.run == _R.c.id, condition).exists()

    def gather(condition: ColumnElement[bool]) -> Select[Any]:
        return select(_P.c.run.label("id")).where(condition)

    columns = {"name": _P.c.name, "value": _P.c.number, "text": _P.c.text}
    return compares("parameter", number, where, walk=walk, gather=gather, **columns)
