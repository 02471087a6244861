"""How a dataset version is stored as a step's output: its manifest. The parts are in the store already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..artifacts.materializers.base import BufferMaterializer, LoadRequest
from .manifest import Manifest
from .version import DatasetVersion

if TYPE_CHECKING:
    from ..artifacts.digests import HashingFile

_SHOWN = 20


class DatasetMaterializer(BufferMaterializer):
    """``windsock.DatasetVersion``: JSON, a few hundred bytes a part."""

    name = "dataset"
    extension = ".dataset.json"

    def write(self, value: Any, file: HashingFile) -> None:
        file.write(value.manifest.to_bytes())

    def read(self, data: memoryview, request: LoadRequest) -> DatasetVersion:
        return DatasetVersion(Manifest.from_bytes(bytes(data)), request.store)

    def describe(self, value: Any) -> dict[str, Any]:
        manifest: Manifest = value.manifest
        return {
            "dataset": manifest.dataset,
            "rows": manifest.rows,
            "bytes": manifest.size,
            "parts": len(manifest.parts),
            "schema": {field.name: str(field.type) for field in manifest.schema},
            "partition_by": list(manifest.partition_by),
            "partitions": value.partitions[-_SHOWN:],
            "parent": manifest.parent,
        }
