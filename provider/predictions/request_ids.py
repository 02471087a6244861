"""Request ids: 16 bytes that name one prediction everywhere, and decide whether it is logged.

Ours are UUIDs of version 7: they begin with the time, so that a row is found in the hour it was written without a
search through all of them. A client's own UUID is kept; any other text a client sends becomes the UUID of version 5
of that text, so that the client can always name its request by what it sent.
"""

from __future__ import annotations

import os
import time
import uuid
from datetime import datetime, timezone
from hashlib import blake2b
from zlib import crc32

NAMESPACE = uuid.UUID("5cb1e5f2-6d9c-5d43-9a53-3f1f0e9d4a10")
"""Namespace of the UUIDs that are made of a client's own text."""


def new_request_id() -> bytes:
    """A UUID of version 7 (RFC 9562, 5.7): 48 bits of milliseconds, then random bits."""
    random = bytearray(os.urandom(10))
    random[0] = 0x70 | (random[0] & 0x0F)
    random[2] = 0x80 | (random[2] & 0x3F)
    return (time.time_ns() // 1_000_000).to_bytes(6, "big") + bytes(random)


def parse_request_id(text: str) -> bytes:
    """The id that a client's text stands for: the UUID it is, else the UUID of version 5 of it."""
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        return uuid.uuid5(NAMESPACE, text).bytes


def format_request_id(request_id: bytes) -> str:
    digits = request_id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def row_ids(request_id: bytes, rows: int) -> list[bytes]:
    """One id for each row of a request: the first row has the request's own, the others are derived from it.

    Derived by a keyed hash and not by counting, because a client may well number its requests.
    """
    return [request_id, *(_derived(request_id, row) for row in range(1, rows))]


def _derived(request_id: bytes, row: int) -> bytes:
    digest = bytearray(blake2b(row.to_bytes(8, "big"), digest_size=16, key=request_id).digest())
    digest[6] = 0x80 | (digest[6] & 0x0F)  # version 8: "custom"
    digest[8] = 0x80 | (digest[8] & 0x3F)
    return bytes(digest)


def sampled(request_id: bytes, threshold: int) -> bool:
    """Whether a row of this id is logged at ``threshold`` ten-thousandths.

    A pure function of the id: labels that arrive later under the same ids hit exactly the rows that were kept.
    """
    return crc32(request_id) % 10_000 < threshold


def time_of(request_id: bytes) -> datetime | None:
    """When an id of version 7 was made; None for other ids."""
    if request_id[6] >> 4 != 7:
        return None
    return datetime.fromtimestamp(int.from_bytes(request_id[:6], "big") / 1000, timezone.utc)
