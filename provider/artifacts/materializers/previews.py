"""Small pictures for people to look at in a table of artifacts: thumbnails as PNG, written with the standard library.

A picture travels as a ``data:`` URI in the artifact's metadata, so it must stay small: at most 64 pixels a side. What
it does not do: smooth. A thumbnail takes every so many pixels.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

_SIDE = 64
_SMALLEST = 8
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's colour types by the number of channels."""


def is_picture(array: Any) -> bool:
    """Whether an array has the shape and type of one image: 8 bits, grey or up to four channels."""
    if array.dtype != "uint8" or array.ndim not in (2, 3) or min(array.shape[:2]) < _SMALLEST:
        return False
    return array.ndim == 2 or array.shape[2] in _COLOURS


def thumbnail(array: Any) -> str:
    """A ``uint8`` array of shape (height, width) or (height, width, 1 to 4) as the ``data:`` URI of a small PNG."""
    step = max(1, -(-max(array.shape[:2]) // _SIDE))
    return png(array[::step, ::step])


def png(array: Any) -> str:
    """The ``data:`` URI of a PNG that holds exactly these pixels. Format: https://www.w3.org/TR/png/"""
    import numpy as np

    height, width = array.shape[:2]
    channels = 1 if array.ndim == 2 else array.shape[2]
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # each line begins with its filter: 0, none
    lines[:, 1:] = array.reshape(height, width * channels)
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b"")
    data = b"\x89PNG\r\n\x1a\n" + b"".join(_part(kind, content) for kind, content in parts)
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _part(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
