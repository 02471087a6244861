"""Pickle, for a step that asked for it with ``@step(pickle=True)``.

Loading a pickle runs what is in it. So it happens only if the reader allows it and the digest in the metadata matches,
which is checked before the first byte is interpreted: whoever can write to the bucket but not to the metadata
database cannot run code.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from ...errors import MaterializerNotFound
from .base import BufferMaterializer, LoadRequest
from .oob import read_buffers, write_buffers

if TYPE_CHECKING:
    from ..digests import HashingFile


class PickleMaterializer(BufferMaterializer):
    """Any object that pickles, with the memory of arrays beside the pickle instead of copied into it."""

    name = "pickle"
    extension = ".pickle"
    unsafe = True

    def write(self, value: Any, file: HashingFile) -> None:
        buffers: list[pickle.PickleBuffer] = []
        try:
            stream = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise MaterializerNotFound(
                f"{type(value).__module__}.{type(value).__qualname__} cannot be pickled: {error}.",
                hint="Write a materializer for it: windsock.provider.artifacts.materializers.base",
            ) from error
        write_buffers(file, stream, buffers)

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        stream, buffers = read_buffers(data)
        return pickle.loads(stream, buffers=buffers)  # noqa: S301 - allowed by the step, digest verified

    def describe(self, value: Any) -> dict[str, Any]:
        return {"pickle": True}
