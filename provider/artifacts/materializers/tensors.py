"""PyTorch tensors, state dicts and checkpoints as one safetensors file: no pickle, straight from and into memory.

The format (https://huggingface.co/docs/safetensors) is eight bytes of length, a JSON header, and the tensors' memory.
It is written and read here, because the digest can then be computed on the way and a big file be mapped; a test holds
it against the library. What is in between tensors (numbers, text, lists: a checkpoint with its epoch) is JSON
in the header. Tensors that are the same memory, as tied weights are, are stored once and are the same again.

What it does not keep: the device (all comes back on the CPU), gradients, and views that only overlap. A whole
``nn.Module`` is code: return its ``state_dict()``, or allow pickle.
"""

from __future__ import annotations

import io
import json
import math
import re
import struct
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from ...errors import ArtifactCorrupted, MaterializerNotFound
from .base import BufferMaterializer, LoadRequest, require_library
from .plain import decode, encode, preview

if TYPE_CHECKING:
    from pathlib import Path

    from ..digests import HashingFile

_CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
}
_TYPES = {code: name for name, code in _CODES.items()}
_STRUCTURE = "windsock"
_HEADER_LIMIT = 100_000_000
"""What the safetensors library takes."""
_SHOWN = 50


class TensorMaterializer(BufferMaterializer):
    """``torch.Tensor``, state dicts, and dicts, lists and tuples of tensors and plain data."""

    name = "tensors"
    extension = ".safetensors"
    mappable = True

    def write(self, value: Any, file: HashingFile) -> None:
        found = _Found()
        structure = encode(value, found.item)
        header: dict[str, Any] = {
            "__metadata__": {"format": "pt", _STRUCTURE: json.dumps(structure, separators=(",", ":"))}
        }
        # As the library does: the widest types first, so that each tensor is aligned.
        order = sorted(found.tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
        position = 0
        for name, tensor in order:
            size = tensor.numel() * tensor.element_size()
            offsets = [position, position + size]
            header[name] = {"dtype": _code(tensor), "shape": list(tensor.shape), "data_offsets": offsets}
            position += size
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        file.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in order:
            if tensor.numel():
                file.write(_memory(tensor))

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        torch = require_library("torch", "a PyTorch tensor")
        header, start = _read_header(data)
        tensors = {name: _tensor(torch, facts, data, start) for name, facts in header.items() if name != "__metadata__"}
        metadata = header.get("__metadata__") or {}
        if _STRUCTURE not in metadata:
            return tensors

        def item(found: dict[str, Any]) -> Any:
            if "$ordered" in found:
                content, versions = found["$ordered"]
                ordered: Any = OrderedDict(decode(content, item))
                if versions is not None:
                    ordered._metadata = OrderedDict(decode(versions))
                return ordered
            return tensors[found["$tensor"]]

        try:
            return decode(json.loads(metadata[_STRUCTURE]), item)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactCorrupted(f"The stored checkpoint cannot be put together: {error!r}") from error

    def open(self, path: Path, request: LoadRequest) -> Any:
        """A ``safetensors.safe_open`` handle: ``keys()``, ``get_tensor(name)``, ``get_slice(name)[:10]``."""
        safetensors = require_library("safetensors", "a lazily opened checkpoint")
        return safetensors.safe_open(str(path), framework="pt")

    def describe(self, value: Any) -> dict[str, Any]:
        if type(value).__name__ == "Tensor":
            return _describe_one(value)
        found = _Found()
        encode(value, found.item)
        shapes = {name: f"{_short(t)}{list(t.shape)}" for name, t in list(found.tensors.items())[:_SHOWN]}
        count = sum(tensor.numel() for tensor in found.tensors.values())
        return {"tensors": len(found.tensors), "parameters": count, "schema": shapes}


class ModuleMaterializer(BufferMaterializer):
    """A whole ``torch.nn.Module`` as ``torch.save`` writes it, which is a pickle: only where pickle is allowed."""

    name = "torch.module"
    extension = ".module.pt"
    unsafe = True

    def write(self, value: Any, file: HashingFile) -> None:
        import torch

        memory = io.BytesIO()  # torch would name the archive after the file
        try:
            torch.save(value, memory)
        except Exception as error:
            raise MaterializerNotFound(
                f"{type(value).__module__}.{type(value).__qualname__} cannot be pickled: {error}.",
                hint="Return its state_dict(), and build the module again where it is loaded.",
            ) from error
        file.write(memory.getbuffer())

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        torch = require_library("torch", "a PyTorch module")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)

    def describe(self, value: Any) -> dict[str, Any]:
        return {
            "pickle": True,
            "parameters": sum(p.numel() for p in value.parameters()),
            "preview": preview(str(value)),
        }


def refuse_module(value: Any, where: str) -> MaterializerNotFound:
    """What to raise for a module when nobody allowed pickle."""
    kind = type(value)
    place = "The value" if where == "value" else f"{where} of the value"
    return MaterializerNotFound(
        f"{place} is a {kind.__module__}.{kind.__qualname__}, a PyTorch module: it can only be pickled as a whole.",
        hint="Return its state_dict(), which is stored as safetensors, or allow pickle: @step(pickle=True)",
        type=f"{kind.__module__}.{kind.__qualname__}",
    )


class _Found:
    """The tensors of a value by name: of a state dict its own names, else the way to them."""

    def __init__(self) -> None:
        self.tensors: dict[str, Any] = {}
        self._names: dict[Any, str] = {}

    def item(self, part: Any, where: str) -> Any:
        if type(part) is OrderedDict:
            versions = getattr(part, "_metadata", None)
            plain = None if versions is None else encode(dict(versions), None, f"{where}._metadata")
            return {"$ordered": [encode(dict(part), self.item, where), plain]}
        if type(part).__module__ != "torch" or type(part).__name__ != "Tensor":
            raise MaterializerNotFound(f"{where} is a {type(part).__qualname__}, neither a tensor nor plain data.")
        tensor = part.detach()
        if tensor.layout != _strided() or tensor.is_quantized:
            raise MaterializerNotFound(
                f"{where} is a sparse or quantized tensor, which safetensors cannot hold.",
                hint="Return tensor.to_dense() or its parts, or allow pickle for this step: @step(pickle=True)",
            )
        same = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.device)
        if tensor.numel() and same in self._names:
            return {"$tensor": self._names[same]}
        name = _name(where)
        if name in self.tensors or name == "__metadata__":
            name = f"{name}#{len(self.tensors)}"
        self.tensors[name] = tensor
        self._names[same] = name
        return {"$tensor": name}


def _strided() -> Any:
    import torch

    return torch.strided


def _name(where: str) -> str:
    """``value['model']['fc.weight']`` as ``model.fc.weight``."""
    parts = re.findall(r"\['((?:[^'\\]|\\.)*)'\]|\[([^\]]*)\]", where)
    return ".".join(text or other for text, other in parts) or "value"


def _short(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _code(tensor: Any) -> str:
    code = _CODES.get(_short(tensor))
    if code is None:
        raise MaterializerNotFound(
            f"A tensor is of type {tensor.dtype}, which safetensors cannot hold.",
            hint="Convert it (tensor.to(torch.float32), …), or allow pickle for this step: @step(pickle=True)",
        )
    return code


def _memory(tensor: Any) -> memoryview:
    import torch

    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())


def _read_header(data: memoryview) -> tuple[dict[str, Any], int]:
    """The header and where the tensors begin. Raises ``ArtifactCorrupted`` unless all tensors lie inside the file."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > min(_HEADER_LIMIT, len(data) - 8):
            raise ValueError("the header is longer than the file")
        header: dict[str, Any] = json.loads(bytes(data[8 : 8 + length]))
        size = len(data) - 8 - length
        for name, facts in header.items():
            if name == "__metadata__":
                continue
            begin, end = facts["data_offsets"]
            if not 0 <= begin <= end <= size or any(type(n) is not int or n < 0 for n in (begin, *facts["shape"])):
                raise ValueError(f"tensor {name!r} leaves the file")
            if facts["dtype"] not in _TYPES:
                raise ValueError(f"tensor {name!r} is of unknown type {facts['dtype']!r}")
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactCorrupted(f"The artifact is not a readable safetensors file: {error}.") from error
    return header, 8 + length


def _tensor(torch: Any, facts: dict[str, Any], data: memoryview, start: int) -> Any:
    kind = getattr(torch, _TYPES[facts["dtype"]], None)
    if kind is None:
        raise ArtifactCorrupted(f"This version of PyTorch does not know tensors of type {facts['dtype']}.")
    shape, (begin, end) = facts["shape"], facts["data_offsets"]
    count = math.prod(shape)
    if count * kind.itemsize != end - begin:
        raise ArtifactCorrupted(f"A tensor of shape {shape} does not have {end - begin} bytes.")
    if not count:
        return torch.empty(shape, dtype=kind)
    part = data[start + begin : start + end]
    if (start + begin) % kind.itemsize:  # somebody else's file, not aligned
        part = memoryview(bytearray(part))
    return torch.frombuffer(part, dtype=kind, count=count).reshape(shape)


def _describe_one(tensor: Any) -> dict[str, Any]:
    head = tensor.detach().reshape(-1)[:5] if tensor.is_contiguous() else tensor.detach().flatten()[:5]
    return {"shape": list(tensor.shape), "dtype": _short(tensor), "preview": preview(head.tolist())}
