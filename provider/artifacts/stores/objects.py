"""The core of all object stores: ``ArtifactStore`` over an fsspec file system.

A subclass says how to connect and what its errors mean. One object is one atomic put, so no temporary key is needed;
``mode="create"`` becomes the store's own condition (``If-None-Match: *``, ``ifGenerationMatch=0``), which holds for
multipart uploads too.

A missing bucket and a missing object look the same to fsspec (``FileNotFoundError``), so every miss asks once more
whether the bucket is there: a gone bucket must never look like an empty cache.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from ...component import ComponentConfig, ComponentContext
from ...errors import ArtifactError, MissingExtra, WindsockError
from ...faults import reach
from ..store import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")


class ObjectStoreConfig(ComponentConfig):
    """``bucket`` (or container), ``prefix`` inside it, ``connection``: an Airflow connection id."""

    bucket: str
    prefix: str = ""
    connection: str | None = None


class ObjectStore(ArtifactStore):
    """Artifacts as objects of one bucket, below one prefix."""

    Config = ObjectStoreConfig
    scheme = ""
    extra = ""
    """The extra of the distribution that brings the fsspec implementation."""

    def __init__(self, config: ComponentConfig | None = None, context: ComponentContext | None = None) -> None:
        super().__init__(config, context)
        prefix = str(self.config.prefix).strip("/")
        self._base = f"{self.config.bucket}/{prefix}" if prefix else str(self.config.bucket)
        self._root = f"{self.scheme}://{self._base}"
        self._lock = Lock()
        self._filesystem: Any = None
        self._pid = 0

    @abstractmethod
    def connect(self) -> Any:
        """A new fsspec file system, uncached, with the credentials of ``self.config.connection``."""

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
                self._pid = os.getpid()
            return self._filesystem

    def find_size(self, key: str) -> int | None:
        try:
            info = self._call("looking up", lambda fs: fs.info(self._path(key)))
        except FileNotFoundError:
            self._require_bucket()
            return None
        return int(info["size"]) if info["type"] == "file" else None

    def read(self, key: str) -> BinaryIO:
        try:
            # A size-bounded read-ahead: without it, fsspec fetches five megabytes for a kilobyte.
            opened = self._call("reading", lambda fs: fs.open(self._path(key), "rb", block_size=8 << 20))
            return cast("BinaryIO", _Guarded(opened, self))
        except FileNotFoundError:
            self._require_bucket()
            raise self.not_found(key) from None

    def get_bytes(self, uri: str) -> bytes:
        key = self.key_of(uri)
        try:
            return cast("bytes", self._call("reading", lambda fs: fs.cat_file(self._path(key))))
        except FileNotFoundError:
            self._require_bucket()
            raise self.not_found(key) from None

    def fetch(self, key: str, target: Path) -> None:
        """Download a blob into a file, in parallel parts where the storage can. Raises ``ArtifactNotFound``."""
        try:
            self._call("reading", lambda fs: fs.get_file(self._path(key), str(target)))
        except FileNotFoundError:
            self._require_bucket()
            raise self.not_found(key) from None

    def write(self, key: str, source: Path | bytes, *, overwrite: bool = False) -> bool:
        mode = "overwrite" if overwrite else "create"
        path = self._path(key)
        reach("artifacts.commit.before_upload")
        try:
            if isinstance(source, bytes):
                self._call("writing", lambda fs: fs.pipe_file(path, source, mode=mode))
            else:
                self._call("writing", lambda fs: fs.put_file(str(source), path, mode=mode))
        except FileExistsError:
            return False
        except FileNotFoundError as error:
            self._require_bucket()
            raise self.unavailable("writing", error) from error
        reach("artifacts.commit.after_upload")
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        folder, _, start = prefix.rpartition("/")
        base = f"{self._base}/{folder}" if folder else self._base
        try:
            found = self._call("listing", lambda fs: fs.find(base, prefix=start) if start else fs.find(base))
        except FileNotFoundError:
            found = []
        if not found:
            self._require_bucket()
        for path in found:
            key = path.removeprefix(f"{self._base}/")
            if key.startswith(prefix):
                yield key

    def remove(self, key: str) -> None:
        try:
            self._call("deleting", lambda fs: fs.rm_file(self._path(key)))
        except FileNotFoundError:
            self._require_bucket()

    def _path(self, key: str) -> str:
        return f"{self._base}/{key}"

    def _require_bucket(self) -> None:
        bucket = str(self.config.bucket)
        try:
            self._call("looking up the bucket", lambda fs: fs.info(bucket))
        except FileNotFoundError:
            raise self.unavailable(
                "looking up the bucket",
                f"bucket {bucket!r} does not exist.",
                "Create it, or correct `bucket` of the artifact store in the stack file, then: windsock stack check",
            ) from None

    def _call(self, doing: str, action: Callable[[Any], T]) -> T:
        """Run one call; what the SDK raises becomes ``StoreUnavailable``, but for found / not found."""
        try:
            return action(self.filesystem)
        except (FileNotFoundError, FileExistsError, WindsockError):
            raise
        except Exception as error:
            raise self.translate(doing, error) from error

    def translate(self, doing: str, error: BaseException) -> ArtifactError:
        return self.unavailable(doing, error, self.explain(error))

    def __reduce__(self) -> Any:
        return type(self), (self.config, self._context)


class _Guarded:
    """A file of fsspec whose errors while reading are ours: an outage may begin in the middle of a file."""

    def __init__(self, file: Any, store: ObjectStore) -> None:
        self._file = file
        self._store = store

    def read(self, size: int = -1) -> bytes:
        try:
            return cast("bytes", self._file.read(size))
        except FileNotFoundError:
            raise self._store.not_found(self._file.path.removeprefix(f"{self._store._base}/")) from None
        except Exception as error:
            raise self._store.translate("reading", error) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)

    def __enter__(self) -> _Guarded:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
