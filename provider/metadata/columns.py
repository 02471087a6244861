"""Column types that read the same from every database.

UTC times, JSON, floats, texts and keys differ between the databases; the differences end here. Each type hands
SQLAlchemy one plain function a direction: a list of ten thousand rows calls it once a cell.
"""

from __future__ import annotations

import json
import math
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import JSON, BigInteger, DateTime, Float, Integer, String
from sqlalchemy import Text as AnyText
from sqlalchemy.types import TypeDecorator, TypeEngine

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect

_Processor = Any  # a function of one value, or None; SQLAlchemy has no public name for it


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, kept and returned in UTC; a naive one is refused, because nobody knows what it means.

    PostgreSQL: ``timestamptz``. SQLite has no such type: ISO 8601 text of a fixed width, which sorts as time does.
    MySQL: ``datetime(6)``, which knows no zone and holds UTC; its ``timestamp`` ends in 2038.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(32))
        if dialect.name == "mysql":
            from sqlalchemy.dialects.mysql import DATETIME

            return dialect.type_descriptor(DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=True))

    def bind_processor(self, dialect: Dialect) -> _Processor:
        if dialect.name == "sqlite":
            return _text_of_time()
        if dialect.name == "mysql":
            return lambda value: None if value is None else as_utc(value).replace(tzinfo=None)
        return lambda value: None if value is None else as_utc(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> _Processor:
        if dialect.name == "sqlite":
            parse = datetime.fromisoformat
            return lambda value: None if value is None else parse(value)
        if dialect.name == "mysql":
            return lambda value: None if value is None else value.replace(tzinfo=timezone.utc)
        return lambda value: None if value is None else value.astimezone(timezone.utc)


def _text_of_time() -> _Processor:
    last: tuple[datetime | None, str | None] = (None, None)

    def text(value: datetime | None) -> str | None:
        nonlocal last
        known, written = last  # one tuple, so that a thread never sees half of another's
        if value is not known:
            written = None if value is None else as_utc(value).isoformat(timespec="microseconds")
            last = (value, written)
        return written

    return text  # a thousand metrics of one moment are formatted once


def as_utc(value: datetime) -> datetime:
    """``value`` in UTC. Raises ``ValueError`` when it is naive."""
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone; use datetime.now(timezone.utc)")
    return value if value.tzinfo is timezone.utc else value.astimezone(timezone.utc)


class Number(TypeDecorator[float]):
    """A float that may be NaN: SQLite turns NaN into NULL, so NULL is how it is stored everywhere.

    MySQL has no infinity either: the largest float of that sign stands for it, and is read back as infinity.
    """

    impl = Float(53)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "mysql":
            from sqlalchemy.dialects.mysql import DOUBLE

            return dialect.type_descriptor(DOUBLE(asdecimal=False))
        return dialect.type_descriptor(Float(53))

    def bind_processor(self, dialect: Dialect) -> _Processor:
        if dialect.name == "mysql":
            return lambda value: None if value is None or math.isnan(value) else min(max(float(value), -_MOST), _MOST)
        return lambda value: None if value is None or math.isnan(value) else float(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> _Processor:
        if dialect.name == "mysql":
            endless = {_MOST: math.inf, -_MOST: -math.inf}
            return lambda value: math.nan if value is None else endless.get(value, value)
        return lambda value: math.nan if value is None else value


_MOST = sys.float_info.max


def dumps(value: Any) -> str:
    """JSON text of what users hand in: numpy scalars and dates too; what is no JSON at all becomes its ``str``."""
    try:
        text = orjson.dumps(value, default=str, option=_OPTIONS).decode()
    except TypeError:  # an integer beyond 64 bits, or a lone surrogate: rare, and the standard library can
        text = json.dumps(_finite(value), default=str)
    if "\\u0000" in text:  # PostgreSQL's jsonb has no NUL
        text = json.dumps(_without_nul(json.loads(text)))
    return text


loads = orjson.loads
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def clean_text(text: str | None) -> str | None:
    """Text that every database takes: without NUL and without lone surrogates."""
    return None if text is None else text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _finite(value: Any) -> Any:
    """NaN and infinity become null, as orjson writes them: the standard library would write what is no JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return {k: _finite(v) for k, v in value.items()} if isinstance(value, dict) else value


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_without_nul(v) for v in value]
    if isinstance(value, dict):
        return {clean_text(k): _without_nul(v) for k, v in value.items()}
    return value


class JsonObject(TypeDecorator[Any]):
    """JSON: ``jsonb`` on PostgreSQL, text on SQLite and on MySQL. Python's None is SQL's NULL.

    MySQL's own type makes floats of integers beyond 64 bits, and MariaDB's is text with a check: text is the same on
    both, and their JSON functions read it.
    """

    impl = JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import JSONB

            return dialect.type_descriptor(JSONB(none_as_null=True))
        if dialect.name == "mysql":
            return _long_text(dialect)
        return dialect.type_descriptor(JSON(none_as_null=True))

    def bind_processor(self, dialect: Dialect) -> _Processor:
        if dialect.name == "mysql":
            return lambda value: None if value is None else dumps(value)
        return super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> _Processor:
        if dialect.name == "mysql":
            return lambda value: None if value is None else loads(value)
        return super().result_processor(dialect, coltype)


class Text(TypeDecorator[str]):
    """Text of any length. MySQL's TEXT ends at 64 KiB, so it is LONGTEXT there."""

    impl = AnyText
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return _long_text(dialect) if dialect.name == "mysql" else dialect.type_descriptor(AnyText())


def _long_text(dialect: Dialect) -> TypeEngine[Any]:
    from sqlalchemy.dialects.mysql import LONGTEXT

    return dialect.type_descriptor(LONGTEXT())


Serial = BigInteger().with_variant(Integer(), "sqlite")
"""A number that the database gives. SQLite numbers rows by itself only when the type is exactly INTEGER."""

Key = String(32)
"""A key of :mod:`.keys`."""

Name = String(200)
"""A checked name (:func:`windsock.provider.names.check_name`)."""

Source = String(750).with_variant(String(500), "mysql")
"""Where a model version came from; shorter on MySQL, whose keys hold 3,072 bytes, 4 a character."""
