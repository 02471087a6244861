"""What a cloud must be able to do to hold artifacts: a handful of requests, each atomic.

One class a cloud, with its own SDK's client inside (that of its fsspec file system, which also knows how to log in).
No retries, no threads, no concurrency here: :class:`~.objects.ObjectStore` does that for all of them.
"""

from __future__ import annotations

from typing import Protocol


class Upload(Protocol):
    """A big blob on its way, part by part. Parts count from 0 and may be sent in any order, repeatedly."""

    async def part(self, number: int, data: bytes) -> None:
        """Send a part, unless an interrupted upload of the same blob has left the same bytes there."""

    async def finish(self, *, create: bool) -> None:
        """Make the blob visible, all at once. ``create``: ``FileExistsError`` if the key is there.

        Raises ``UploadLost`` if parts have vanished.
        """

    async def abort(self) -> None:
        """Remove what was sent, as far as the storage does not do that itself."""


class Bucket(Protocol):
    """Requests to one bucket. Keys are whole object names; a missing key or bucket is ``FileNotFoundError``."""

    most_parts: int
    """How many parts a blob may have."""

    async def size(self, key: str) -> int: ...

    async def get(self, key: str, start: int, stop: int) -> tuple[bytes, int]:
        """The bytes of a range, cut at the blob's end, and the blob's size."""

    async def put(self, key: str, data: bytes, *, create: bool, writer: str | None = None) -> None:
        """One atomic write. ``create``: ``FileExistsError`` if the key is there. ``writer`` is noted beside it."""

    async def writer(self, key: str) -> str | None:
        """Who wrote a blob, as noted by ``put``."""

    async def upload(self, key: str, parts: int) -> Upload:
        """Begin a write in parts, or go on with one that was interrupted."""

    async def delete(self, key: str) -> None: ...

    async def page(self, prefix: str, token: str | None, limit: int = 1000) -> tuple[list[str], str | None]:
        """Some keys that begin with ``prefix``, and the token of the next page."""

    async def sweep(self, prefix: str, seconds: float) -> int:
        """Remove parts of uploads below ``prefix`` that nobody has gone on with for so long; returns how many."""
