"""ONNX models, as the protocol buffer that every ONNX runtime reads: ``Artifact.path()`` is the file to give to it.

The weights must be in the model. A model that refers to files beside it is refused both ways: what it refers to would
not be part of the artifact, and a hostile one could refer to any file of the machine that loads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ArtifactCorrupted, MaterializerNotFound
from .base import BufferMaterializer, LoadRequest, require_library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..digests import HashingFile

_LIMIT = (1 << 31) - 1
"""Bytes of a protocol buffer."""
_SHOWN = 50


class OnnxMaterializer(BufferMaterializer):
    """``onnx.ModelProto``."""

    name = "onnx"
    extension = ".onnx"

    def write(self, value: Any, file: HashingFile) -> None:
        outside = next(_outside(value), None)
        if outside is not None:
            raise MaterializerNotFound(
                f"The ONNX model keeps {outside!r} in a file beside it, which is not part of the value.",
                hint="Load it first: onnx.external_data_helper.load_external_data_for_model(model, folder)",
            )
        if value.ByteSize() > _LIMIT:
            raise MaterializerNotFound(
                "The ONNX model is bigger than two gigabytes, which one protocol buffer cannot hold.",
                hint="Save it with onnx.save_model(…, save_as_external_data=True) and return the folder's Path.",
            )
        file.write(value.SerializeToString(deterministic=True))

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        onnx = require_library("onnx", "an ONNX model")
        from google.protobuf.message import DecodeError

        model = onnx.ModelProto()
        try:
            model.ParseFromString(bytes(data))
        except DecodeError as error:
            raise ArtifactCorrupted(f"The artifact is not a readable ONNX model: {error}.") from error
        if not model.ir_version or not model.HasField("graph"):
            raise ArtifactCorrupted("The artifact is not an ONNX model: it has no graph.")
        outside = next(_outside(model), None)
        if outside is not None:
            raise ArtifactCorrupted(f"The stored ONNX model refers to a file outside of it for {outside!r}.")
        return model

    def describe(self, value: Any) -> dict[str, Any]:
        kinds: dict[str, int] = {}
        for node in value.graph.node:
            kinds[node.op_type] = kinds.get(node.op_type, 0) + 1
        return {
            "producer": f"{value.producer_name} {value.producer_version}".strip(),
            "opset": {item.domain or "ai.onnx": item.version for item in value.opset_import},
            "inputs": _signature(value.graph.input),
            "outputs": _signature(value.graph.output),
            "operators": dict(sorted(kinds.items(), key=lambda item: -item[1])[:_SHOWN]),
            "parameters": sum(_count(tensor.dims) for tensor in value.graph.initializer),
        }


def _outside(model: Any) -> Iterator[str]:
    """Names of tensors that are kept outside of the model."""
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    for tensor in _get_all_tensors(model):
        if uses_external_data(tensor):
            yield tensor.name or "a constant"


def _signature(values: Any) -> dict[str, str]:
    import onnx

    found = {}
    for value in values[:_SHOWN]:
        kind = value.type.tensor_type
        sides = [str(side.dim_param or side.dim_value or "?") for side in kind.shape.dim]
        name = onnx.TensorProto.DataType.Name(kind.elem_type).lower() if value.type.HasField("tensor_type") else "other"
        found[value.name] = f"{name}[{', '.join(sides)}]"
    return found


def _count(sides: Any) -> int:
    count = 1
    for side in sides:
        count *= int(side)
    return count
