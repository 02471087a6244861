"""Exclusive creation on a server without conditional writes: the best that reading and writing can do.

Each claimant writes a candidate of its own, waits until every request that was on its way has arrived, and lists the
candidates: all that were there at the same time see the same ones and agree that the first name wins; the winner
writes the key, unless it has appeared meanwhile. With reads and writes alone nothing can be exclusive without a bound
on time (their consensus number is 1: Herlihy, *Wait-Free Synchronization*, 1991), so this holds as long as a request
takes less than ``SETTLE`` seconds. Content under its own digest needs none of it: whoever writes, writes the same.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .buckets import Bucket

    Request = Callable[[Callable[[Bucket], Awaitable[Any]]], Awaitable[Any]]

SETTLE = 2.0


async def claim(request: Request, path: str, folder: str, data: bytes) -> bool:
    """Write ``path`` if it is not there; False if another claimant has it. ``request`` makes one request."""
    place = f"{folder}/{uuid.uuid5(uuid.NAMESPACE_URL, path).hex}/"
    mine = f"{place}{uuid.uuid4().hex}"
    await request(lambda b: b.put(mine, b"", create=False))
    try:
        await asyncio.sleep(SETTLE)
        candidates, _ = await request(lambda b: b.page(place, None))
        if min(candidates) != mine or await _there(request, path):
            return False
        await request(lambda b: b.put(path, data, create=False))
        await asyncio.sleep(SETTLE)  # who came before the key was there must still see who has won
        return True
    finally:
        await request(lambda b: b.delete(mine))


async def _there(request: Request, path: str) -> bool:
    try:
        await request(lambda b: b.size(path))
    except FileNotFoundError:
        return False
    return True
