"""What changed between two versions of a data set: columns, rows, and how the values are distributed.

Parts that both have are not read. Rows of the others are compared as wholes, as often as they occur: a part that was
only rewritten counts for nothing. Distributions are compared by the drift engine, old against new.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from ..monitoring.decision import DriftResult
    from .version import DatasetVersion


@dataclass(frozen=True)
class DatasetDiff:
    """``rows_added`` and ``rows_removed`` are None when rows cannot be compared (nested columns).

    ``partitions``: values of the partitions in which parts differ. ``drift`` is the drift engine's result, None if not
    asked for or one of the two is empty.
    """

    dataset: str
    old: int | None
    new: int | None
    old_rows: int
    new_rows: int
    columns_added: dict[str, str] = field(default_factory=dict)
    columns_removed: dict[str, str] = field(default_factory=dict)
    columns_changed: dict[str, tuple[str, str]] = field(default_factory=dict)
    rows_added: int | None = 0
    rows_removed: int | None = 0
    partitions: list[dict[str, Any]] = field(default_factory=list)
    drift: DriftResult | None = field(default=None, repr=False)

    @property
    def same(self) -> bool:
        """The same columns and the same rows."""
        return not (
            self.columns_added or self.columns_removed or self.columns_changed or self.rows_added or self.rows_removed
        ) and (self.rows_added is not None)

    def to_dict(self) -> dict[str, Any]:
        facts = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "drift"}
        return {**facts, "same": self.same, "drift": None if self.drift is None else self.drift.to_dict()}


def diff(old: DatasetVersion, new: DatasetVersion, *, distribution: bool = True) -> DatasetDiff:
    """Compare two versions. Raises what reading raises."""
    before, after = old.schema, new.schema
    shared = [name for name in before.names if name in after.names]
    changed = {
        name: (str(before.field(name).type), str(after.field(name).type))
        for name in shared
        if not before.field(name).type.equals(after.field(name).type)
    }
    old_parts = {(part.key, part.digest) for part in old.manifest.parts}
    new_parts = {(part.key, part.digest) for part in new.manifest.parts}
    only_old = [part for part in old.manifest.parts if (part.key, part.digest) not in new_parts]
    only_new = [part for part in new.manifest.parts if (part.key, part.digest) not in old_parts]
    alike = [name for name in shared if name not in changed]
    added, removed = _rows(_read(old, only_old, alike), _read(new, only_new, alike), alike)
    partitions = {tuple(part.partition.items()): dict(part.partition) for part in [*only_old, *only_new]}
    return DatasetDiff(
        dataset=new.name,
        old=old.version,
        new=new.version,
        old_rows=old.rows,
        new_rows=new.rows,
        columns_added={name: str(after.field(name).type) for name in after.names if name not in shared},
        columns_removed={name: str(before.field(name).type) for name in before.names if name not in shared},
        columns_changed=changed,
        rows_added=added,
        rows_removed=removed,
        partitions=[value for key, value in sorted(partitions.items(), key=str) if key],
        drift=_drift(old, new, alike) if distribution and old.rows and new.rows else None,
    )


def _read(version: DatasetVersion, parts: Sequence[Any], columns: list[str]) -> pa.Table:
    from dataclasses import replace

    from .version import DatasetVersion

    some = DatasetVersion(replace(version.manifest, parts=tuple(parts)), version.store)
    return some.to_arrow(columns)


def _rows(old: pa.Table, new: pa.Table, columns: list[str]) -> tuple[int | None, int | None]:
    """How many rows there are more, and fewer, each counted as often as it occurs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not columns:
        return new.num_rows, old.num_rows
    if any(pa.types.is_nested(old.schema.field(name).type) for name in columns):
        return None, None
    side = "\0side"
    both = pa.concat_tables(
        [
            table.append_column(
                side, pa.array([weight], pa.int64()).take(pa.nulls(table.num_rows, pa.int64()).fill_null(0))
            )
            for table, weight in ((old, -1), (new, 1))
        ]
    )
    balance = both.group_by(columns).aggregate([(side, "sum")])[f"{side}_sum"]
    more = pc.sum(pc.if_else(pc.greater(balance, 0), balance, 0)).as_py() or 0
    fewer = pc.sum(pc.if_else(pc.less(balance, 0), balance, 0)).as_py() or 0
    return int(more), int(-fewer)


def _drift(old: DatasetVersion, new: DatasetVersion, columns: list[str]) -> DriftResult:
    from ..monitoring.decision import compare
    from ..monitoring.profile import build_profile, profile_against

    reference = build_profile(old.to_arrow(columns))
    return compare(reference, profile_against(reference, new.to_arrow(columns)))
