"""``DriftProfile``: what is known of a table's columns, in a few kilobytes, and adds up over windows.

A *reference* profile (the baseline beside a model version) fixes the layout: edges and levels. Any other data are
counted against that layout with ``profile_against``; such profiles merge by addition, so an hour's profile beside the
prediction log gives any day, week or deployment by a sum. Profiles of different layouts are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ..errors import ProfileMismatch
from .columns import Column, column_from_dict

if TYPE_CHECKING:
    from .sources import Opener

SCHEMA = 1
SUFFIX = ".drift.json.zst"

Progress = Callable[[int, "int | None"], None]
"""``progress(rows done, rows in all or None)``; called from several threads, one at a time."""

ROLES = ("target", "prediction", "score")


@dataclass(frozen=True)
class DriftProfile:
    """Columns with their counts, and where they come from. Build one with ``build_profile`` or ``profile_against``."""

    edges_id: str
    """Digest of all layouts: profiles with the same one can be merged and compared."""
    rows: int
    """Rows of the data; a column's own ``rows`` are fewer when only a part of them was scanned."""
    columns: Mapping[str, Column]
    roles: Mapping[str, str] = field(default_factory=dict)
    """Column name by role: ``target``, ``prediction``, ``score``."""
    extra: tuple[str, ...] = ()
    """Columns that the data have and the reference does not."""
    model_name: str | None = None
    version: int | None = None
    window: tuple[datetime, datetime] | None = None
    created_at: datetime | None = None
    source: Mapping[str, Any] = field(default_factory=dict)

    def merge(self, *others: DriftProfile) -> DriftProfile:
        """All windows in one. Raises ``ProfileMismatch`` when the layouts differ."""
        for other in others:
            if self.edges_id != other.edges_id:
                raise ProfileMismatch(
                    f"A profile with edges {self.edges_id} cannot be merged with one with edges {other.edges_id}: "
                    "they were made against different baselines.",
                    hint="Profile both against the same baseline: profile_against(baseline, data).",
                    edges=(self.edges_id, other.edges_id),
                )
        parts = [self, *others]
        windows = [part.window for part in parts if part.window]
        return replace(
            self,
            rows=sum(part.rows for part in parts),
            columns={
                name: column.merge(*[other.columns[name] for other in others]) for name, column in self.columns.items()
            },
            extra=tuple(sorted({name for part in parts for name in part.extra})),
            window=(min(w[0] for w in windows), max(w[1] for w in windows)) if windows else None,
            created_at=max((part.created_at for part in parts if part.created_at), default=None),
            source={"type": "merged"},
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "edges_id": self.edges_id,
            "rows": self.rows,
            "model_name": self.model_name,
            "version": self.version,
            "window": [t.isoformat() for t in self.window] if self.window else None,
            "created_at": self.created_at.isoformat() if self.created_at else None,
            "roles": dict(self.roles),
            "extra": list(self.extra),
            "source": dict(self.source),
            "columns": {name: column.to_dict() for name, column in self.columns.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DriftProfile:
        if data.get("schema") != SCHEMA:
            raise ProfileMismatch(
                f"The profile has schema {data.get('schema')!r}; this Windsock reads schema {SCHEMA}.",
                hint="Make it again: windsock drift baseline DATA -o FILE",
            )
        window = data["window"]
        return cls(
            data["edges_id"],
            data["rows"],
            {name: column_from_dict(name, column) for name, column in data["columns"].items()},
            data["roles"],
            tuple(data["extra"]),
            data["model_name"],
            data["version"],
            (datetime.fromisoformat(window[0]), datetime.fromisoformat(window[1])) if window else None,
            datetime.fromisoformat(data["created_at"]) if data["created_at"] else None,
            data["source"],
        )

    def to_bytes(self) -> bytes:
        """Zstandard-compressed JSON; the ``zstd`` command reads it. The same profile gives the same bytes."""
        import orjson
        import pyarrow as pa

        out = pa.BufferOutputStream()
        with pa.CompressedOutputStream(out, "zstd") as stream:
            stream.write(orjson.dumps(self.to_dict()))
        return bytes(out.getvalue())

    @classmethod
    def from_bytes(cls, data: bytes) -> DriftProfile:
        """Raises ``ProfileMismatch`` for bytes that are no profile."""
        import orjson
        import pyarrow as pa

        try:
            with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
                loaded = orjson.loads(stream.read())
            return cls.from_dict(loaded)
        except (OSError, pa.ArrowException, orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ProfileMismatch(
                f"These {len(data)} bytes are no drift profile: {type(error).__name__}: {error}",
                hint="Make one: windsock drift baseline DATA -o FILE",
            ) from error


def merge(profiles: Iterable[DriftProfile]) -> DriftProfile:
    """The sum of profiles of the same layout, in any order."""
    first, *rest = profiles
    return first.merge(*rest)


def edges_id(columns: Mapping[str, Column], roles: Mapping[str, str]) -> str:
    """Digest of the layouts, 32 hex digits."""
    import orjson

    layout = [[columns[name].layout() for name in sorted(columns)], sorted(roles.items())]
    return blake2b(orjson.dumps(layout), digest_size=16).hexdigest()


def build_profile(
    data: Any,
    *,
    model_name: str | None = None,
    version: int | None = None,
    target: str | None = None,
    prediction: str | None = None,
    score: str | None = None,
    columns: Iterable[str] | None = None,
    created_at: datetime | None = None,
    threads: int | None = None,
    opener: Opener | None = None,
    progress: Progress | None = None,
) -> DriftProfile:
    """Profile reference data: choose the layout from a sample of row groups, then count every row once.

    ``data`` is what ``sources.open_data`` opens. ``target``, ``prediction`` and ``score`` name columns with a role: a
    target is not expected in a prediction log, a drifting prediction is reported as such. The result depends on the
    data alone, so that a retry gives the same bytes; pass ``created_at`` to stamp it. Raises ``DataUnreadable``.
    """
    from .scan import learn

    roles = {role: name for role, name in zip(ROLES, (target, prediction, score), strict=True) if name}
    profile = learn(data, columns=columns, roles=roles, threads=threads, opener=opener, progress=progress)
    return replace(profile, model_name=model_name, version=version, created_at=created_at)


def profile_against(
    baseline: DriftProfile,
    data: Any,
    *,
    window: tuple[datetime, datetime] | None = None,
    columns: Iterable[str] | None = None,
    threads: int | None = None,
    opener: Opener | None = None,
    progress: Progress | None = None,
) -> DriftProfile:
    """Count all of ``data`` against the layout of ``baseline``.

    A column that is absent or of another type is kept as such, never skipped. ``columns`` limits the comparison.
    Raises ``DataUnreadable``.
    """
    from .scan import follow

    profile = follow(baseline, data, columns=columns, threads=threads, opener=opener, progress=progress)
    return replace(profile, window=window)
