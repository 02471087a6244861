"""Moving bytes to and from an object store: retries, parts in parallel, a blob read ahead of its reader.

What all object stores share, above the few requests of :class:`~.buckets.Bucket`. Everything here runs on fsspec's
event loop but for :class:`PartReader`, which is the reading thread's end of it.

Memory is bounded by design: who wants to send takes one of ``concurrency`` slots first and reads its part of the file
then, so at most ``concurrency * part_size`` bytes are on their way, whatever the sizes and numbers of files.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

T = TypeVar("T")
J = TypeVar("J")

_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0
_TEMPORARY_STATUS = {408, 429, 500, 502, 503, 504}
_TEMPORARY_NAMES = {
    "ClientConnectionError",  # aiohttp
    "ClientPayloadError",
    "HTTPClientError",  # botocore: cannot connect, connection closed, time-outs
    "ResponseStreamingError",
    "IncompleteReadError",  # botocore, azure
    "ResponseParserError",  # a proxy's error page instead of XML
    "ServiceRequestError",  # azure
    "ServiceResponseError",
    "TransportError",  # google-auth
}
_SLOW_READ = 256 << 10
"""Bigger pieces are read from disk in a thread: the event loop has other requests to serve meanwhile."""


class UploadLost(Exception):
    """Parts of an upload are not there any more: another writer of the same blob finished or aborted it."""


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error of botocore, s3fs, gcsfs or azure-core, if there is one."""
    return next((found for one in _causes(error) if (found := _status(one)) is not None), None)


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        found: Any = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(error, "status_code", None) or getattr(error, "code", None) or getattr(error, "status", None)
    return int(found) if isinstance(found, int) or (isinstance(found, str) and found.isdigit()) else None


def is_temporary(error: BaseException) -> bool:
    """Whether the same request may well succeed a moment later: throttled, overloaded, or cut off."""
    for one in _causes(error):
        if isinstance(one, (ConnectionError, TimeoutError, asyncio.TimeoutError)):
            return True
        if any(cls.__name__ in _TEMPORARY_NAMES for cls in type(one).__mro__):
            return True
        status = _status(one)
        if status is not None:
            return status in _TEMPORARY_STATUS
    return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(5):
        if error is None:
            return
        yield error
        error = error.__cause__


def wait_before(attempt: int) -> float:
    """Seconds before attempt 1, 2, 3…: "full jitter", so that many clients do not come back at the same moment.

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1)))  # noqa: S311 - no secret


async def retrying(call: Callable[[int], Awaitable[T]], retries: int) -> T:
    """``call(attempt)`` until it succeeds, fails for good, or has failed ``retries`` times after the first."""
    for attempt in range(retries + 1):
        if attempt:
            await asyncio.sleep(wait_before(attempt))
        try:
            return await call(attempt)
        except Exception as error:
            if attempt == retries or not is_temporary(error):
                raise
    raise AssertionError("unreachable")


async def each(jobs: Iterable[J], work: Callable[[J], Awaitable[Any]], workers: int) -> None:
    """Do all jobs, ``workers`` at a time; the first error cancels the rest. Holds no task per job."""
    remaining = iter(jobs)

    async def worker() -> None:
        for job in remaining:
            await work(job)

    tasks = [asyncio.ensure_future(worker()) for _ in range(workers)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_piece(source: Path | bytes, start: int, size: int) -> bytes:
    """A piece of what is to be sent."""
    if isinstance(source, bytes):
        return source[start : start + size]
    if size <= _SLOW_READ:
        return _read_piece(source, start, size)
    return await asyncio.get_running_loop().run_in_executor(None, _read_piece, source, start, size)


def _read_piece(path: Path, start: int, size: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), size, start)
        while len(data) < size:
            more = os.pread(file.fileno(), size - len(data), start + len(data))
            if not more:
                raise OSError(f"{path} became shorter while it was read.")
            data += more
    return data


class PartReader(io.RawIOBase):
    """A blob as a file: the parts after the one being read are fetched meanwhile, in parallel, in order.

    ``fetch(start, stop)`` begins to fetch a range. At most ``ahead`` parts are held. Seeking is allowed, and throws
    away what was fetched ahead. Not thread-safe.
    """

    def __init__(
        self, first: bytes, total: int, fetch: Callable[[int, int], Future[bytes]], *, part_size: int, ahead: int
    ) -> None:
        self._fetch, self._part_size, self._ahead = fetch, part_size, ahead
        self._total = total
        self._part, self._part_start = memoryview(first), 0
        self._coming: deque[tuple[int, Future[bytes]]] = deque()
        self._asked = len(first)  # where the next range to ask for begins
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._total}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._rest_of_part(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        """Unlike a raw file, as many bytes as asked for if there are so many: callers of a store do not loop."""
        wanted = self._total - self._position if size is None or size < 0 else size
        pieces = []
        while wanted > 0 and (data := self._rest_of_part(wanted)):
            pieces.append(data)
            wanted -= len(data)
        return b"".join(pieces)

    def readall(self) -> bytes:
        return self.read()

    def close(self) -> None:
        for _, future in self._coming:
            future.cancel()
        self._coming.clear()
        super().close()

    def _rest_of_part(self, most: int) -> memoryview:
        if self.closed:
            raise ValueError("the file is closed")
        if self._position >= self._total:
            return memoryview(b"")
        while not self._part_start <= self._position < self._part_start + len(self._part):
            self._next_part()
        begin = self._position - self._part_start
        data = self._part[begin : begin + most]
        self._position += len(data)
        return data

    def _next_part(self) -> None:
        expected = self._coming[0][0] if self._coming else self._asked
        if not expected <= self._position < expected + self._part_size * (len(self._coming) or 1):
            for _, future in self._coming:
                future.cancel()
            self._coming.clear()
            self._asked = self._position
        while len(self._coming) < self._ahead and self._asked < self._total:
            stop = min(self._asked + self._part_size, self._total)
            self._coming.append((self._asked, self._fetch(self._asked, stop)))
            self._asked = stop
        self._part = memoryview(b"")  # let go of it before the next one arrives
        self._part_start, future = self._coming.popleft()
        self._part = memoryview(future.result())
        if not len(self._part):
            raise OSError("the storage sent nothing for a range that exists")
