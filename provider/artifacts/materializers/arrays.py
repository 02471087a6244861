"""numpy arrays as ``.npy``, straight from and into memory.

The format is numpy's own, so ``np.load`` reads the files. Objects and variable-width text, which ``.npy`` can only
pickle, are stored as JSON when they are plain data.
"""

from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING, Any

from ...errors import ArtifactCorrupted
from .base import BufferMaterializer, LoadRequest
from .plain import decode, dumps, encode, preview
from .previews import is_picture, thumbnail

if TYPE_CHECKING:
    from pathlib import Path

    from ..digests import HashingFile

_CHUNK_ITEMS = 1 << 19


class ArrayMaterializer(BufferMaterializer):
    """``numpy.ndarray`` (a memory map is stored as an array) and numpy scalars, which come back as scalars."""

    name = "numpy"
    extension = ".npy"
    mappable = True

    def write(self, value: Any, file: HashingFile) -> None:
        import numpy as np

        array = np.asarray(value)
        file.write(_header(array))
        if array.size == 0:
            return
        if array.flags.c_contiguous or array.flags.f_contiguous:
            file.write(_bytes_of(array if array.flags.c_contiguous else array.T))
            return
        flags: Any = ["external_loop", "buffered", "zerosize_ok"]
        for chunk in np.nditer(array, flags=flags, buffersize=_CHUNK_ITEMS, order="C"):
            file.write(_bytes_of(np.array(chunk)))  # a copy: nditer fills the same buffer again

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        import numpy as np

        head = io.BytesIO(data[: 1 << 16])
        try:
            old = np.lib.format.read_magic(head) == (1, 0)
            read_header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read_header(head)
            if dtype.hasobject:
                raise ValueError("it holds pickled objects, which are never loaded")
            count = math.prod(shape)
            array = np.frombuffer(data, dtype=dtype, count=count, offset=head.tell()) if count else np.empty(0, dtype)
        except ValueError as error:
            raise ArtifactCorrupted(f"The artifact is not a readable .npy file: {error}.") from error
        array = array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
        return array if request.type == "numpy.ndarray" or shape else array[()]

    def open(self, path: Path, request: LoadRequest) -> Any:
        """A read-only memory map: nothing is read until it is used."""
        import numpy as np

        return np.load(path, mmap_mode="r", allow_pickle=False)

    def describe(self, value: Any) -> dict[str, Any]:
        return describe_array(value)


class ObjectArrayMaterializer(BufferMaterializer):
    """Arrays of dtype ``object`` or ``StringDType`` whose items are plain data, as JSON."""

    name = "numpy.objects"
    extension = ".array.json"

    def write(self, value: Any, file: HashingFile) -> None:
        dtype = "object" if value.dtype.hasobject and value.dtype.kind == "O" else "string"
        items = encode(value.ravel().tolist(), None, "array")
        file.write(dumps({"dtype": dtype, "shape": list(value.shape), "items": items}))

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        import numpy as np

        content = json.loads(bytes(data))
        dtype: Any = object if content["dtype"] == "object" else np.dtypes.StringDType()
        array = np.empty(math.prod(content["shape"]), dtype=dtype)
        for position, item in enumerate(content["items"]):  # one by one: numpy would unpack lists into dimensions
            array[position] = decode(item)
        return array.reshape(content["shape"])

    def describe(self, value: Any) -> dict[str, Any]:
        return describe_array(value)


def describe_array(value: Any) -> dict[str, Any]:
    head = value.ravel()[:5] if getattr(value, "size", 0) < 1 << 20 or value.flags.c_contiguous else value.flat[:5]
    facts = {"shape": list(value.shape), "dtype": str(value.dtype), "preview": preview(head.tolist())}
    if is_picture(value):
        facts["thumbnail"] = thumbnail(value)
    return facts


def _header(array: Any) -> bytes:
    """The beginning of a ``.npy`` file, padded by numpy so that the data are aligned."""
    import numpy as np

    facts = np.lib.format.header_data_from_array_1_0(array)
    header = io.BytesIO()
    try:
        np.lib.format.write_array_header_1_0(header, facts)
    except ValueError:  # thousands of fields do not fit the first version
        header = io.BytesIO()
        np.lib.format.write_array_header_2_0(header, facts)
    return header.getvalue()


def _bytes_of(array: Any) -> memoryview:
    """The memory of a C-contiguous array, whatever its dtype (datetimes have no buffer of their own)."""
    import numpy as np

    return memoryview(array.reshape(-1).view(np.uint8))
