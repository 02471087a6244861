"""``DatasetVersion``: one snapshot of a data set. Immutable; reads only the parts and columns that are asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ..artifacts.digests import digest_bytes
from ..artifacts.handle import Artifact
from ..artifacts.saving import load
from ..errors import ArtifactError, DatasetMismatch, did_you_mean
from .manifest import Manifest, Part, plain
from .tables import fitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import pyarrow.dataset as pads

    from ..artifacts.store import ArtifactStore
    from .diff import DatasetDiff

_PART = {"type": "pyarrow.lib.Table", "materializer": "arrow"}


class DatasetVersion:
    """A snapshot. A step returns one, or takes one as an argument; what travels is its manifest.

    ``version`` is its number, where that is known. Columns come in the order of the data set's schema, rows in the
    order in which they were appended, partition by partition. Reading verifies the digest of each part, unless
    ``verify=False``.
    """

    def __init__(self, manifest: Manifest, store: ArtifactStore | None = None, *, version: int | None = None) -> None:
        self.manifest = manifest
        self.version = version
        self._store = store

    @property
    def name(self) -> str:
        """Of the data set."""
        return self.manifest.dataset

    @property
    def digest(self) -> str:
        """Of the whole snapshot: equal digests are equal data and equal history."""
        return digest_bytes(self.manifest.to_bytes())

    @property
    def rows(self) -> int:
        return self.manifest.rows

    @property
    def size(self) -> int:
        """Bytes, as they are stored."""
        return self.manifest.size

    @property
    def schema(self) -> pa.Schema:
        return self.manifest.schema

    @property
    def columns(self) -> list[str]:
        return list(self.schema.names)

    @property
    def partitions(self) -> list[dict[str, Any]]:
        """The values of each partition that has rows, sorted."""
        found = {tuple(part.partition.items()): dict(part.partition) for part in self.manifest.parts if part.partition}
        return [found[key] for key in sorted(found, key=str)]

    @property
    def store(self) -> ArtifactStore:
        if self._store is None:
            raise ArtifactError(
                f'The version of data set "{self.name}" is not bound to an artifact store.',
                hint="Load it with its store: artifacts.load(ref, stack.artifact_store)",
            )
        return self._store

    def to_arrow(
        self,
        columns: Sequence[str] | None = None,
        *,
        partition: Mapping[str, Any] | None = None,
        where: Any = None,
        verify: bool = True,
    ) -> pa.Table:
        """The rows as an Arrow table.

        ``partition``: only of these, ``{"day": "2026-01-01"}`` or ``{"day": ["2026-01-01", "2026-01-02"]}``; other
        parts are not touched. ``where``: a ``pyarrow.compute`` expression over columns. Raises ``DatasetMismatch`` for
        a column that is not there, ``ArtifactNotFound``, ``ArtifactCorrupted`` and ``StoreUnavailable``.
        """
        import pyarrow as pa

        self._require(columns or ())
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        needed = None if where is not None or columns is None else list(columns)

        def read(part: Part) -> pa.Table:
            wanted = None if needed is None else [name for name in needed if name in part.columns]
            table = load(self._ref(part), self.store, verify=verify, columns=wanted)
            if where is not None:
                table = fitted(table, self.schema).filter(where)
            return fitted(table, schema)

        parts = self.parts(partition)
        if len(parts) > 1 and not self.store.is_local:
            with ThreadPoolExecutor(min(8, len(parts))) as pool:
                tables = list(pool.map(read, parts))
        else:
            tables = [read(part) for part in parts]
        return pa.concat_tables(tables) if tables else schema.empty_table()

    def to_pandas(self, columns: Sequence[str] | None = None, **options: Any) -> pd.DataFrame:
        """The rows as a pandas data frame; options as of :meth:`to_arrow`."""
        return self.to_arrow(columns, **options).to_pandas()

    def to_polars(self, columns: Sequence[str] | None = None, **options: Any) -> pl.DataFrame:
        """The rows as a polars data frame; options as of :meth:`to_arrow`."""
        import polars as pl

        found = pl.from_arrow(self.to_arrow(columns, **options))
        assert isinstance(found, pl.DataFrame)
        return found

    def to_arrow_dataset(self, *, partition: Mapping[str, Any] | None = None, verify: bool = False) -> pads.Dataset:
        """A lazy Arrow data set over the parts' files, for scanners, DuckDB or polars; nothing is read before.

        Parts of a remote or encrypted store are fetched to this machine now, and kept until the process ends.
        """
        import pyarrow.dataset as pads

        parts = self.parts(partition)
        paths = [str(Artifact.bind(self._ref(part), self.store).path(verify=verify)) for part in parts]
        return pads.dataset(paths, schema=self.schema, format="ipc")

    def parts(self, partition: Mapping[str, Any] | None = None) -> list[Part]:
        """The parts of these partitions. Raises ``DatasetMismatch`` for what is no partition column."""
        wanted = {name: _listed(values) for name, values in (partition or {}).items()}
        for name in wanted:
            if name not in self.manifest.partition_by:
                raise DatasetMismatch(
                    f'Data set "{self.name}" is not partitioned by "{name}".',
                    hint=did_you_mean(name, self.manifest.partition_by),
                    dataset=self.name,
                )
        return [
            part
            for part in self.manifest.parts
            if all(part.partition[name] in values for name, values in wanted.items())
        ]

    def diff(self, other: DatasetVersion, *, distribution: bool = True) -> DatasetDiff:
        """What became of this version in ``other``: schema, rows, and how columns are distributed."""
        from .diff import diff

        return diff(self, other, distribution=distribution)

    def _ref(self, part: Part) -> dict[str, Any]:
        return {**_PART, "uri": self.store.uri_of(part.key), "digest": part.digest}

    def _require(self, columns: Iterable[str]) -> None:
        for name in columns:
            if name not in self.columns:
                raise DatasetMismatch(
                    f'Data set "{self.name}" has no column "{name}".',
                    hint=did_you_mean(name, self.columns),
                    dataset=self.name,
                    columns=[name],
                )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatasetVersion) and other.manifest == self.manifest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __len__(self) -> int:
        return self.rows

    def __repr__(self) -> str:
        number = "" if self.version is None else f"@{self.version}"
        return f"<DatasetVersion {self.name}{number}: {self.rows} rows in {len(self.manifest.parts)} parts>"


DatasetVersion.__module__ = "windsock"  # where users find it, and what artifacts are recorded as


def _listed(values: Any) -> set[Any]:
    if isinstance(values, (list, tuple, set, frozenset)):
        return {plain(value) for value in values}
    return {plain(values)}
