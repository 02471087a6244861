"""Built-in steps: append rows to a data set, and hand one of its versions to the steps that follow.

They run where the metadata are and are never cached: one changes something, the other asks what is the latest. What
follows them is cached by the digest of the version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..pipelines.step import step

if TYPE_CHECKING:
    from ..artifacts.handle import Artifact
    from ..datasets.version import DatasetVersion


@step(cache=False, compute="local")
def append_dataset(
    rows: Artifact[Any] | Any, name: str, *, partition_by: list[str] | None = None, overwrite: bool = False
) -> DatasetVersion:
    """Add a table to the data set ``name``; returns its new version. The retry of a killed task adds nothing twice.

    ``overwrite``: the table replaces all rows instead. Raises ``DatasetMismatch``.
    """
    from ..datasets.handle import dataset

    table = rows.load() if hasattr(rows, "ref") else rows
    found = dataset(name, partition_by=partition_by or ())
    return found.overwrite(table) if overwrite else found.append(table)


@step(cache=False, compute="local")
def read_dataset(name: str, *, version: int | None = None) -> DatasetVersion:
    """The version of the data set ``name``, by default the latest: ``.to_pandas(columns=[…])`` reads from it.

    Raises ``ArtifactNotFound``.
    """
    from ..datasets.handle import dataset

    return dataset(name).version(version)
