"""Query parameters that narrow a list: times, and comparisons as a person writes them (``metric=accuracy>0.9``)."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator

from ...provider.metadata.filters import Where

Moment = Annotated[
    datetime | None,
    AfterValidator(lambda at: at if at is None or at.tzinfo else at.replace(tzinfo=timezone.utc)),
    Query(description="ISO 8601; in UTC unless it says otherwise."),
]
Compared = Annotated[
    list[str] | None, Query(description="accuracy>0.9, also = != < <= >=; may be repeated.", max_length=20)
]


def compared(texts: list[str] | None) -> tuple[Where, ...]:
    """Raises ``FilterInvalid``."""
    return tuple(Where.parse(text) for text in texts or ())
