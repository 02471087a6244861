"""The core of all object stores: ``ArtifactStore`` over a :class:`~.buckets.Bucket`.

A subclass says how to log in, which requests its cloud takes, and what its errors mean. What is common is here:

- **Commit.** A small blob is one conditional put. A big one is sent in parts under a temporary name that the storage
  keeps invisible, and appears by one conditional request. Nothing is half there, and nothing is overwritten.
- **Requests are counted.** New small blobs cost one request each, many at a time; only what is big is looked up first.
- **Patience.** Throttling, overload and cut connections are retried with full jitter, part by part; what an
  interrupted upload has left is found again by the next one of the same content.
- **Outages are not misses.** A missing bucket and a missing object look alike, so a miss asks whether the bucket is
  there: a gone bucket must never look like an empty cache.

What it does not do: claim keys on a server without conditional writes as safely as with them (see ``claims.py``).
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from abc import abstractmethod
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from ...component import CheckResult, ComponentConfig, ComponentContext
from ...errors import ArtifactError, ComponentInvalid, MissingExtra, WindsockError
from ...faults import reach
from ..cache import BlobCache
from ..store import ArtifactStore
from .claims import claim
from .config import ObjectStoreConfig
from .transfers import PartReader, UploadLost, each, is_temporary, read_piece, retrying

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from pathlib import Path

    from .buckets import Bucket

T = TypeVar("T")

_LOOK_FIRST = 1 << 20
"""Bigger blobs are looked up before they are sent: the request is cheaper than the bytes."""
_BUCKET_SEEN = 5.0
_AHEAD = 8


class ObjectStore(ArtifactStore):
    """Artifacts as objects of one bucket, below one prefix."""

    Config = ObjectStoreConfig
    scheme = ""
    extra = ""
    """The extra of the distribution that brings the fsspec implementation."""

    def __init__(self, config: ComponentConfig | None = None, context: ComponentContext | None = None) -> None:
        super().__init__(config, context)
        if not self.config.bucket:
            raise ComponentInvalid(f"The artifact store {self.scheme} names no bucket.", hint="Set `bucket`.")
        self._prefix = str(self.config.prefix).strip("/")
        self._base = f"{self.config.bucket}/{self._prefix}" if self._prefix else str(self.config.bucket)
        self._root = f"{self.scheme}://{self._base}"
        self._lock = Lock()
        self._filesystem: Any = None
        self._bucket: Bucket | None = None
        self._slots = asyncio.Semaphore(1)
        self._pid = 0
        self._bucket_seen = float("-inf")
        self._cache: BlobCache | None = None
        self.workers = int(self.config.concurrency)

    @abstractmethod
    def connect(self) -> Any:
        """A new fsspec file system, uncached, with the credentials of ``self.config.connection``."""

    @abstractmethod
    def open_bucket(self, filesystem: Any) -> Bucket:
        """The requests to ``self.config.bucket``, through that file system's client."""

    @abstractmethod
    def explain(self, error: BaseException) -> str | None:
        """What to do about an error of this storage, or None if there is nothing special to say."""

    @property
    def root(self) -> str:
        return self._root

    @property
    def filesystem(self) -> Any:
        """The fsspec file system, built on first use in each process (its event loop does not survive a fork)."""
        with self._lock:
            if self._filesystem is None or self._pid != os.getpid():
                try:
                    self._filesystem = self.connect()
                except ImportError as error:
                    raise MissingExtra(
                        f"artifact store {self._root} needs {error.name}.",
                        hint=f"Run: pip install 'airflow-provider-windsock[{self.extra}]'",
                    ) from None
                self._bucket = self.open_bucket(self._filesystem)
                self._slots = asyncio.Semaphore(self.config.concurrency)
                self._pid = os.getpid()
            return self._filesystem

    @property
    def bucket(self) -> Bucket:
        _ = self.filesystem
        return cast("Bucket", self._bucket)

    @property
    def cache(self) -> BlobCache | None:
        with self._lock:
            if self._cache is None and self._context is not None:
                settings = self._context.settings
                limit, folder = self.config.cache_size, self.config.cache_folder
                limit = settings.artifact_cache_size if limit is None else int(limit)
                self._cache = BlobCache(folder.expanduser() if folder else settings.home / "cache", limit)
            return self._cache if self._cache is not None and self._cache.ready() else None

    # ------------------------------------------------------------------ the five methods

    def find_size(self, key: str) -> int | None:
        try:
            return self._run("looking up", lambda: self._request(lambda b: b.size(self._path(key))))
        except FileNotFoundError:
            self._require_bucket()
            return None

    def read(self, key: str) -> BinaryIO:
        path, part_size = self._path(key), int(self.config.part_size)

        def fetch(start: int, stop: int) -> Any:
            return asyncio.run_coroutine_threadsafe(self._range(path, start, stop), self.filesystem.loop)

        try:
            first, total = self._run("reading", lambda: self._request(lambda b: b.get(path, 0, part_size)))
        except FileNotFoundError:
            self._require_bucket()
            raise self.not_found(key) from None
        ahead = min(_AHEAD, int(self.config.concurrency))
        return cast("BinaryIO", _Guarded(first, total, fetch, part_size=part_size, ahead=ahead, store=self, key=key))

    def read_start(self, key: str, size: int) -> tuple[bytes, int]:
        try:
            return self._run("reading", lambda: self._request(lambda b: b.get(self._path(key), 0, size)))
        except FileNotFoundError:
            self._require_bucket()
            raise self.not_found(key) from None

    def write(self, key: str, source: Path | bytes, *, overwrite: bool = False) -> bool:
        create = not overwrite
        if create and not self.config.conditional_writes:
            if self.find_size(key) is not None:
                return False
            if isinstance(source, bytes):
                return self._writing(lambda: claim(self._request, self._path(key), self._path("claims"), source))
            create = False
        return self._writing(lambda: self._send(self._path(key), source, create=create))

    def keys(self, prefix: str) -> Iterator[str]:
        token: str | None = None
        start = len(self._path(""))
        while True:
            try:
                found, token = self._page(self._path(prefix), token)
            except FileNotFoundError:
                self._require_bucket()
                return
            for path in found:
                yield path[start:]
            if token is None:
                return

    def remove(self, key: str) -> None:
        try:
            self._run("deleting", lambda: self._request(lambda b: b.delete(self._path(key))))
        except FileNotFoundError:
            self._require_bucket()

    # ------------------------------------------------------------------ many at a time, and housekeeping

    def remove_all(self, keys: Iterable[str]) -> None:
        async def remove(key: str) -> None:
            try:
                await self._request(lambda b: b.delete(self._path(key)))
            except FileNotFoundError:
                return

        self._run("deleting", lambda: each(keys, remove, self.config.concurrency))

    def sweep(self, seconds: float) -> int:
        return self._run("sweeping", lambda: self._request(lambda b: b.sweep(self._path(""), seconds)))

    def check(self) -> CheckResult:
        """As every store; an endpoint that does not answer is reported at once, without retries."""
        if self.config.retries:
            at_once = type(self)(self.config.model_copy(update={"retries": 0}), self._context)
            return at_once.check()
        result = super().check()
        if not result.ok and "overwrite refused False" in result.detail:
            return CheckResult(
                ok=False,
                detail=result.detail,
                hint="This server ignores If-None-Match. Set `conditional_writes: false` in the stack file.",
            )
        return result

    def _ensure(self, key: str, source: Path | bytes) -> None:
        self._writing(lambda: self._place(key, source))

    def _ensure_all(self, files: Iterable[tuple[str, Path]]) -> None:
        async def place(file: tuple[str, Path]) -> None:
            await self._place(*file)
            reach("artifacts.commit.folder_file")

        self._writing(lambda: each(files, place, self.config.concurrency))

    async def _place(self, key: str, source: Path | bytes) -> None:
        """Content under the key made from it: there afterwards, whoever wrote it."""
        path = self._path(key)
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        create = bool(self.config.conditional_writes)
        if (size > _LOOK_FIRST or not create) and await self._size(path) == size:
            return
        if not await self._send(path, source, create=create, content=True) and await self._size(path) != size:
            await self._send(path, source, create=False, content=True)

    # ------------------------------------------------------------------ sending

    async def _send(self, path: str, source: Path | bytes, *, create: bool, content: bool = False) -> bool:
        """``content``: the key is made from it, so who of several writers was first does not matter."""
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        reach("artifacts.commit.before_upload")
        if size <= self.config.part_size:
            written = await self._put(path, source, size, create=create, content=content)
        else:
            written = await self._upload(path, source, size, create=create)
        reach("artifacts.commit.after_upload")
        return written

    async def _put(self, path: str, source: Path | bytes, size: int, *, create: bool, content: bool) -> bool:
        bucket, writer = self.bucket, None if content else uuid.uuid4().hex
        async with self._slots:
            data = await read_piece(source, 0, size)

            async def put(_: int) -> bool:
                try:
                    await bucket.put(path, data, create=create, writer=writer)
                except FileExistsError:
                    # Perhaps an earlier try, ours or the HTTP client's, got through, and its answer did not.
                    return writer is not None and await bucket.writer(path) == writer
                return True

            return await retrying(put, self.config.retries)

    async def _upload(self, path: str, source: Path | bytes, size: int, *, create: bool) -> bool:
        part_size = max(int(self.config.part_size), -(-size // self.bucket.most_parts))
        starts = range(0, size, part_size)
        for _ in range(3):
            upload = await self._request(lambda b: b.upload(path, len(starts)))

            async def send(start: int) -> None:
                async with self._slots:
                    data = await read_piece(source, start, min(part_size, size - start))
                    await retrying(lambda _: upload.part(start // part_size, data), self.config.retries)  # noqa: B023

            try:
                await each(starts, send, min(self.config.concurrency, len(starts)))
                reach("artifacts.commit.before_complete")
                await retrying(lambda _: upload.finish(create=create), self.config.retries)  # noqa: B023
            except UploadLost:
                if await self._size(path) == size:
                    return False
                continue
            except FileExistsError:
                await self._quietly(upload.abort)
                return False
            except Exception as error:
                if not is_temporary(error):  # otherwise what was sent is there for the next try
                    await self._quietly(upload.abort)
                raise
            return True
        raise UploadLost("other writers kept on interfering")

    @staticmethod
    async def _quietly(action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except Exception:  # noqa: BLE001 - tidying up must not hide what happened; the sweep finds it again
            return

    # ------------------------------------------------------------------ requests

    async def _request(self, call: Callable[[Bucket], Awaitable[T]]) -> T:
        """One request, when a slot is free, made again while it fails for the moment."""
        bucket = self.bucket

        async def once(_: int) -> T:
            async with self._slots:
                return await call(bucket)

        return await retrying(once, self.config.retries)

    async def _range(self, path: str, start: int, stop: int) -> bytes:
        data, _ = await self._request(lambda b: b.get(path, start, stop))
        return data

    async def _size(self, path: str) -> int | None:
        try:
            return await self._request(lambda b: b.size(path))
        except FileNotFoundError:
            return None

    def _page(self, path: str, token: str | None) -> tuple[list[str], str | None]:
        return self._run("listing", lambda: self._request(lambda b: b.page(path, token)))

    def _writing(self, action: Callable[[], Awaitable[T]]) -> T:
        try:
            return self._run("writing", action)
        except FileNotFoundError as error:
            self._require_bucket()
            raise self.unavailable("writing", error) from error

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _require_bucket(self) -> None:
        if time.monotonic() - self._bucket_seen < _BUCKET_SEEN:
            return
        try:
            self._run("looking up the bucket", lambda: self._request(lambda b: b.page(self._path(""), None, 1)))
        except FileNotFoundError:
            raise self.unavailable(
                "looking up the bucket",
                f"bucket {str(self.config.bucket)!r} does not exist.",
                "Create it, or correct `bucket` of the artifact store in the stack file, then: windsock stack check",
            ) from None
        self._bucket_seen = time.monotonic()

    def _run(self, doing: str, action: Callable[[], Awaitable[T]]) -> T:
        """Run on fsspec's loop; what the SDK raises becomes ``StoreUnavailable``, but for found / not found."""
        from fsspec.asyn import sync

        try:
            return cast("T", sync(self.filesystem.loop, action))
        except (FileNotFoundError, FileExistsError, WindsockError):
            raise
        except Exception as error:
            raise self.translate(doing, error) from error

    def translate(self, doing: str, error: BaseException) -> ArtifactError:
        return self.unavailable(doing, error, self.explain(error))

    def __reduce__(self) -> Any:
        return type(self), (self.config, self._context)


class _Guarded(PartReader):
    """A blob being read, whose errors are ours: an outage may begin in the middle of it."""

    def __init__(self, *arguments: Any, store: ObjectStore, key: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._store, self._key = store, key

    def _next_part(self) -> None:
        try:
            super()._next_part()
        except FileNotFoundError:
            raise self._store.not_found(self._key) from None
        except WindsockError:
            raise
        except Exception as error:
            raise self._store.translate("reading", error) from error
