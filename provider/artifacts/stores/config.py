"""What a stack file may say of an object store."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import Any, ClassVar

from pydantic import ByteSize, Field, model_validator

from ...component import ComponentConfig


class ObjectStoreConfig(ComponentConfig):
    """``bucket`` (or container), ``prefix`` inside it, ``connection``: an Airflow connection id.

    ``root`` says all three in one, as an ``ObjectStoragePath`` does: ``s3://connection@bucket/prefix``.

    At most ``concurrency`` requests run at a time, each with at most ``part_size`` bytes. A request that fails for the
    moment is made again up to ``retries`` times. ``conditional_writes: false`` is for servers that do not know
    ``If-None-Match``; ``windsock stack check`` finds out. What is loaded is kept on this machine in ``cache_folder``
    (default: ``cache`` in home), up to ``cache_size`` (default: ``[windsock] artifact_cache_size``; 0 for nothing).
    """

    bucket: str
    prefix: str = ""
    connection: str | None = None
    concurrency: int = Field(16, ge=1, le=256)
    part_size: int = Field(8 << 20, ge=5 << 20, le=64 << 20)
    retries: int = Field(6, ge=0, le=20)
    conditional_writes: bool = True
    cache_size: ByteSize | None = None
    cache_folder: Path | None = None

    schemes: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_root(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "root" not in data:
            return data
        rest = dict(data)
        root = str(rest.pop("root"))
        scheme, _, path = root.partition("://")
        if scheme not in cls.schemes:
            raise ValueError(f"root {root!r} does not begin with {' or '.join(f'{s}://' for s in cls.schemes)}")
        if given := {"bucket", "prefix", "connection"} & set(rest):
            raise ValueError(f"root already says {', '.join(sorted(given))}")
        place, _, prefix = path.partition("/")
        connection, _, bucket = place.rpartition("@")
        return {**rest, "bucket": bucket, "prefix": prefix, "connection": connection or None}
