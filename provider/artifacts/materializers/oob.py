"""The layout of pickles with out-of-band buffers (:pep:`574`): the memory of arrays is beside the stream, not in it.

::

    magic 8 B | length of stream u64 | number of buffers u64 | length of each buffer u64 … | stream
    then each buffer, at the next multiple of 64

So an array is written straight from its memory, and read as a view of the file's content, aligned for the processor.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ...errors import ArtifactCorrupted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pickle import PickleBuffer

    from ..digests import HashingFile

MAGIC = b"WSOCKP5\n"
_ALIGN = 64


def write_buffers(file: HashingFile, stream: bytes, buffers: Sequence[PickleBuffer]) -> None:
    views = [buffer.raw() for buffer in buffers]
    lengths = [view.nbytes for view in views]
    head = MAGIC + struct.pack(f"<QQ{len(views)}Q", len(stream), len(views), *lengths)
    file.write(head + stream)
    for view in views:
        if padding := -file.size % _ALIGN:
            file.write(bytes(padding))
        file.write(view)


def read_buffers(data: memoryview) -> tuple[memoryview, list[memoryview]]:
    """The pickle stream and views of its buffers. Raises ``ArtifactCorrupted``."""
    try:
        if data[:8] != MAGIC:
            raise ValueError("unknown beginning")
        stream_length, count = struct.unpack_from("<QQ", data, 8)
        lengths = struct.unpack_from(f"<{count}Q", data, 24)
    except (struct.error, ValueError, MemoryError, OverflowError) as error:
        raise ArtifactCorrupted(f"The artifact is not a pickle that Windsock wrote: {error}.") from error
    position = 24 + 8 * count
    stream = data[position : position + stream_length]
    position += stream_length
    buffers = []
    for length in lengths:
        position += -position % _ALIGN
        buffers.append(data[position : position + length])
        position += length
    if position != len(data):
        raise ArtifactCorrupted(f"The artifact is {len(data)} bytes long where {position} were announced.")
    return stream, buffers
