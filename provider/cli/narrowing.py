"""Options that narrow a list: how times, sizes and comparisons are written on a command line."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..metadata.filters import Where

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SIZES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def moment(text: str) -> datetime:
    """``7d`` is seven days ago (s, m, h, d, w); ``2026-01-31`` and ``2026-01-31T12:00`` are in UTC unless they say."""
    ago = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if ago:
        return datetime.now(timezone.utc) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        # Python 3.10 reads no Z.
        found = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
    except ValueError:
        raise typer.BadParameter(f'"{text}" is no time. Write 7d, 12h, 2026-01-31 or 2026-01-31T12:00.') from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def size(text: str) -> int:
    """``1048576``, ``1M`` or ``1MiB``."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if found is None:
        raise typer.BadParameter(f'"{text}" is no size. Write 500k, 10M or 2G.')
    return int(float(found[1]) * _SIZES[found[2]])


def _option(*names: str, metavar: str, help_text: str, parser: Any = None) -> Any:
    return typer.Option(*names, metavar=metavar, help=help_text, parser=parser, show_default=False)


Since = Annotated[
    datetime | None,
    _option("--since", metavar="TIME", help_text="Only from then on: 7d, 12h, a date.", parser=moment),
]
Until = Annotated[
    datetime | None, _option("--until", metavar="TIME", help_text="Only before then: 7d, 12h, a date.", parser=moment)
]
Smallest = Annotated[
    int | None,
    _option("--larger-than", metavar="SIZE", help_text="Only from this size on: 500k, 10M.", parser=size),
]
Metrics = Annotated[
    list[str] | None,
    _option("--where", metavar="METRIC>VALUE", help_text="Only with such a metric: 'accuracy>0.9'; may be repeated."),
]
Parameters = Annotated[
    list[str] | None,
    _option("--parameter", "-p", metavar="NAME=VALUE", help_text="Only with such a parameter; also != < <= > >=."),
]
Tags = Annotated[
    list[str] | None, _option("--tag", metavar="NAME=VALUE", help_text="Only with such a tag; may be repeated.")
]


def comparisons(texts: list[str] | None) -> tuple[Where, ...]:
    """Raises ``FilterInvalid``."""
    from ..metadata.filters import Where

    return tuple(Where.parse(text) for text in texts or ())
