"""What a :class:`~.filters.ModelVersionFilter` means in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, bindparam, select

from . import schema
from .listing import Term, between, compares, equals

if TYPE_CHECKING:
    from .filters import ModelVersionFilter, Where

_V, _W = schema.model_version, schema.model_version_value


def terms(wanted: ModelVersionFilter) -> list[Term]:
    named = (("metric", wanted.metrics), ("parameter", wanted.parameters), ("tag", wanted.tags))
    return [
        *equals(_V.c.model, wanted.model),
        *equals(_V.c.state, wanted.state),
        *equals(_V.c.run, wanted.run),
        *between(_V.c.created_at, wanted.since, wanted.until),
        *(
            _compared(kind, number, where, one_model=wanted.model is not None)
            for kind, given in named
            for number, where in enumerate(given)
        ),
    ]


def _compared(kind: str, number: int, where: Where, *, one_model: bool) -> Term:
    def walk(condition: ColumnElement[bool]) -> ColumnElement[bool]:
        own = (_W.c.model == _V.c.model, _W.c.version == _V.c.version, _W.c.kind == kind)
        return select(_W.c.model).correlate(_V).where(*own, condition).exists()

    def gather(condition: ColumnElement[bool]) -> Select[Any]:
        found = select(_W.c.model, _W.c.version).where(_W.c.kind == kind, condition)
        return found.where(_W.c.model == bindparam("of_model")) if one_model else found

    columns = {"name": _W.c.name, "value": _W.c.number, "text": _W.c.text}
    return compares(kind, number, where, walk=walk, gather=gather, **columns)
