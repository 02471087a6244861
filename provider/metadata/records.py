"""What every record and every page of records has in common."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from pydantic import BaseModel, ConfigDict

from ..errors import RecordNotFound

if TYPE_CHECKING:
    from sqlalchemy import Result
    from typing_extensions import Self

JSON = dict[str, Any]
"""A JSON object. Stored as it is: never put a secret into one."""

T_co = TypeVar("T_co", covariant=True)


class Record(BaseModel):
    """One row, or one thing to be written: frozen, and a field that it does not know is an error."""

    # Built when first used: a task needs a handful of the records, and building all of them costs it 30 ms.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", defer_build=True)

    @classmethod
    def many(cls, result: Result[Any]) -> tuple[Self, ...]:
        """One record a row. Goes round SQLAlchemy's row mappings, which cost more than the query."""
        names = tuple(result.keys())
        make = cls.model_validate
        return tuple(make(dict(zip(names, row, strict=True))) for row in result)


def page_start(before: str | int | None, end: int) -> int:
    """The number below which a page begins. Raises ``RecordNotFound`` for a text that no page gave."""
    try:
        return end if before is None else min(int(before), end)
    except ValueError:
        raise no_page(before) from None


def no_page(before: object) -> RecordNotFound:
    return RecordNotFound(
        f"{before!r} is no place where a list could be continued.", hint="Give what the page before named as the next."
    )


class Any_(enum.Enum):  # noqa: N801 - `Any` is taken by typing
    """The type of :data:`ANY`."""

    ANY = "any"


ANY = Any_.ANY
"""``expected=ANY``: whatever the present value is. (``None`` means: there is none.)"""


@dataclass(frozen=True)
class Page(Sequence[T_co], Generic[T_co]):
    """Some records of a longer list; ``next`` is the ``before`` of the following page, None on the last.

    Pages are cut by key, not by offset: a page deep in a million rows costs what the first one costs, and rows that
    arrive meanwhile neither repeat nor hide others.
    """

    items: tuple[T_co, ...]
    next: str | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T_co]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T_co]: ...
    def __getitem__(self, index: int | slice) -> T_co | Sequence[T_co]:
        return self.items[index]


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(timezone.utc)


def finite(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """JSON has no NaN and no infinity: they are written as text, which a record reads back as the number."""
    return {key: value if math.isfinite(value) else str(value) for key, value in metrics.items()}
