"""What a list is narrowed by: one frozen record a noun, and :class:`Where` for values that have names of their own.

A field that is None does not narrow; two filters of one kind are combined with ``&``. Times: ``since`` is the first
moment that counts, ``until`` the first that does not. There is no query language: what a program says is typed, and
what a person types (``accuracy>0.9``) is one comparison, read by :meth:`Where.parse`.
"""

from __future__ import annotations

import re
from datetime import datetime  # noqa: TC003 - pydantic reads annotations
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..errors import FilterInvalid
from .records import Record

if TYPE_CHECKING:
    from typing_extensions import Self

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
Value = bool | int | float | str

_COMPARISON = re.compile(r"^\s*(?P<name>[^<>=!]+?)\s*(?P<op><=|>=|!=|==|=|<|>)\s*(?P<value>.*?)\s*$", re.DOTALL)


class Where(Record):
    """One comparison of a metric, a parameter or a tag: ``Where(name="accuracy", op=">", value=0.9)``.

    A number is compared with numbers (true and false are 1 and 0), a text with texts; what has no value of that name
    does not match, whatever the operator. Texts are compared by their first 200 characters.
    """

    name: str
    op: Operator = "="
    value: bool | int | float | str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``accuracy>0.9``, ``snapshot=2026-01-01`` or ``team="7"``: a number in quotes is a text.

        Raises ``FilterInvalid``.
        """
        found = _COMPARISON.match(text)
        if found is None or not found["value"]:
            raise FilterInvalid(
                f"{text!r} is no comparison.", hint="Write NAME, one of = != < <= > >=, and a value: 'accuracy>0.9'"
            )
        operator: Any = "=" if found["op"] == "==" else found["op"]
        return cls(name=found["name"], op=operator, value=_value(found["value"]))


def _value(text: str) -> Value:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    if text in {"true", "false"}:
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


class Filter(Record):
    """What the filters have in common."""

    def __and__(self, other: Self) -> Self:
        """Both. Raises ``FilterInvalid`` when they want different values of one field, which nothing could have."""
        if type(other) is not type(self):
            return NotImplemented
        both = self.model_dump(exclude_defaults=True)
        for name in other.model_fields_set:
            value = getattr(other, name)
            if value is None or value == ():
                continue
            present = getattr(self, name)
            if isinstance(value, tuple):
                both[name] = (*present, *(one for one in value if one not in present))
            elif present is None or present == value:
                both[name] = value
            else:
                raise FilterInvalid(f"{name} cannot be {present!r} and {value!r} at once.")
        return type(self)(**both)


class RunFilter(Filter):
    """``metrics``: the last value in any step of the run; ``parameters``: of the run."""

    pipeline: str | None = None
    dag_id: str | None = None
    state: str | None = None
    stack: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    metrics: tuple[Where, ...] = ()
    parameters: tuple[Where, ...] = ()


class ArtifactFilter(Filter):
    """``prefix``: how the name begins; ``producer``: key of the step run that made it first; sizes in bytes."""

    name: str | None = None
    prefix: str | None = None
    type: str | None = None
    producer: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    min_size: int | None = Field(default=None, ge=0)
    max_size: int | None = Field(default=None, ge=0)


class ModelVersionFilter(Filter):
    """Without ``model``, versions of all models."""

    model: str | None = None
    state: Literal["active", "archived"] | None = None
    run: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    metrics: tuple[Where, ...] = ()
    parameters: tuple[Where, ...] = ()
    tags: tuple[Where, ...] = ()


class DeploymentFilter(Filter):
    """Deleted ones are listed only when ``phase`` asks for them."""

    model: str | None = None
    version: int | None = None
    phase: Literal["pending", "ready", "failed", "deleted"] | None = None
    stack: str | None = None
    prefix: str | None = None


class DriftFilter(Filter):
    """Times are those of the report, not of the window of data."""

    model: str | None = None
    version: int | None = None
    deployment: str | None = None
    drifted: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditFilter(Filter):
    """``subject`` is looked for within ``subject_kind``, which it needs."""

    actor: str | None = None
    action: str | None = None
    subject_kind: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None
