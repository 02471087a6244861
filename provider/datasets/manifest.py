"""The manifest of a dataset version: which parts it is made of, and of which version it is the next.

A part is one stored table, content-addressed like any artifact. Versions share the parts that they have in common, so
an append stores the new rows and a new list, and no version ever changes. The digest of the manifest is the digest
of the snapshot; it covers the parts' digests and the version before, and so all of the history.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..errors import ArtifactCorrupted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

FORMAT = 1


@dataclass(frozen=True)
class Part:
    """``key``: where it is in the store; ``partition``: the value of each partition column in all of its rows.

    ``columns``: those that it has. ``source``: the task that appended it, so that its retry appends nothing twice.
    """

    key: str
    digest: str
    size: int
    rows: int
    partition: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    source: str | None = None


@dataclass(frozen=True)
class Manifest:
    """Immutable; a change is a new one."""

    dataset: str
    schema_bytes: bytes = field(repr=False)
    partition_by: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    parent: str | None = None
    """Digest of the version before."""

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def size(self) -> int:
        """Bytes of all parts as they are stored."""
        return sum(part.size for part in self.parts)

    @property
    def schema(self) -> pa.Schema:
        import pyarrow as pa

        return pa.ipc.read_schema(pa.py_buffer(self.schema_bytes))

    def next(self, parts: Iterable[Part], schema: pa.Schema, parent: str | None) -> Manifest:
        return replace(self, parts=tuple(parts), schema_bytes=schema.serialize().to_pybytes(), parent=parent)

    def to_bytes(self) -> bytes:
        """Canonical JSON: the same snapshot gives the same bytes."""
        data = {
            "format": FORMAT,
            "dataset": self.dataset,
            "parent": self.parent,
            "partition_by": list(self.partition_by),
            "schema": base64.b64encode(self.schema_bytes).decode(),
            "parts": [asdict(part) for part in self.parts],
        }
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Raises ``ArtifactCorrupted``."""
        try:
            found = json.loads(data)
            if found["format"] != FORMAT:
                raise ValueError(f"format {found['format']}; this Windsock reads format {FORMAT}")
            return cls(
                found["dataset"],
                base64.b64decode(found["schema"]),
                tuple(found["partition_by"]),
                tuple(Part(**{**part, "columns": tuple(part["columns"])}) for part in found["parts"]),
                found["parent"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactCorrupted(f"This is no list of the parts of a data set: {error}.") from None


def plain(value: Any) -> Any:
    """A partition's value as it stands in a manifest: JSON, times as ISO 8601."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if hasattr(value, "item"):  # numpy's
        value = value.item()
    return str(value) if isinstance(value, Decimal) else value
