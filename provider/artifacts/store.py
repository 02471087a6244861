"""Artifact stores: where the bytes of artifacts live, behind five small methods.

A store maps *keys* (``objects/ab/<digest>.arrow``) to immutable bytes. Everything else that Windsock needs is built
here on those five methods, so a new kind of storage is a short file:

- **Content-addressed.** A key is made from the digest of its content, so writing twice is the same as writing once,
  and concurrent writers of the same value cannot disagree.
- **Atomic.** A key is absent or complete, never half there; a writer that dies leaves nothing visible.
- **Folders** are stored file by file below ``<key>/`` and exist from the moment that their manifest ``<key>.tree``
  does: it is written last, and it is what the artifact's URI names.

With ``encryption`` among its options any store becomes an encrypted one (:mod:`.encrypted`).

What it does not do: collect garbage, or find out which artifact a blob belongs to (metadata knows).
"""

from __future__ import annotations

import io
import tempfile
import time
import uuid
from abc import abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, cast

from pydantic import Field

from ..component import CheckResult, Component, ComponentConfig, ComponentContext, validated
from ..errors import ArtifactError, ArtifactNotFound, StoreUnavailable
from ..faults import reach
from .digests import HashingFile, files_of, folder_manifest, hex_of, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .cache import BlobCache

TREE = ".tree"
"""Ending of a folder's manifest, and so of a folder artifact's URI."""


def object_key(digest: str, extension: str = "") -> str:
    """Where content of that digest lives: ``objects/ab/ab12….npy``. The fan-out keeps local folders small."""
    digits = hex_of(digest)
    return f"objects/{digits[:2]}/{digits}{extension}"


class EncryptionConfig(ComponentConfig):
    """``encryption`` of an artifact store: nothing is stored any more that is not sealed on this side.

    ``key``: where the key-encryption key is, an Airflow connection or ``aws-kms://…`` (``provider/security/keys.py``).
    ``previous``: where older ones are, which still open what they closed. ``allow_unencrypted``: read what was stored
    before; say false when there is nothing of it, then a file that somebody else put there is refused.
    ``previews``: keep first rows and statistics of artifacts in the metadata database, where they are not encrypted.
    """

    key: str = Field(min_length=1)
    previous: tuple[str, ...] = ()
    allow_unencrypted: bool = True
    previews: bool = True


class ArtifactStore(Component):
    """Immutable bytes under keys.

    Subclasses implement :attr:`root` and five methods. All are thread-safe, and idempotent but for ``write``'s answer.
    Each raises ``StoreUnavailable`` when the storage does not answer or its bucket is gone, never an error of its
    own SDK. A store may be built in one process and used in a forked one.
    """

    kind: ClassVar[str] = "artifact_store"
    memory_map = False
    """Whether the files of :meth:`local_path` may be mapped: they are never truncated while somebody reads."""
    workers = 1
    """How many blobs may well be read at a time."""

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any], context: ComponentContext | None = None) -> Component:
        """The store of a stack file; with ``encryption`` among its options, an encrypted store over it."""
        given = dict(options)
        encryption = given.pop("encryption", None)
        store = super().from_mapping(given, context)
        if encryption is None:
            return store
        from .encrypted import EncryptedArtifactStore

        config = validated(EncryptionConfig, encryption, f"{cls.kind} {cls.__name__}", "encryption")
        return EncryptedArtifactStore(cast("ArtifactStore", store), config)

    @property
    @abstractmethod
    def root(self) -> str:
        """The URI below which everything lives, without a slash at its end: ``s3://bucket/prefix``."""

    @abstractmethod
    def find_size(self, key: str) -> int | None:
        """Bytes under a key, or None if there is no such key."""

    @abstractmethod
    def read(self, key: str) -> BinaryIO:
        """Open for streaming, positioned at the start. Raises ``ArtifactNotFound``."""

    @abstractmethod
    def write(self, key: str, source: Path | bytes, *, overwrite: bool = False) -> bool:
        """Make the content visible under the key, all at once. Without ``overwrite``: False if the key was there."""

    @abstractmethod
    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that begin with ``prefix``, in no promised order."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove a key if it is there."""

    # ------------------------------------------------------------------ what others call

    def exists(self, uri: str) -> bool:
        return self.find_size(self.key_of(uri)) is not None

    def size(self, uri: str) -> int:
        """Bytes of a blob; of a folder, of all its files. Raises ``ArtifactNotFound``."""
        if uri.endswith(TREE):
            return sum(file["size"] for file in read_manifest(self.get_bytes(uri), uri))
        size = self.find_size(self.key_of(uri))
        if size is None:
            raise self.not_found(uri)
        return size

    def open(self, uri: str) -> BinaryIO:
        return self.read(self.key_of(uri))

    def commit(self, source: Path, key: str) -> str:
        """Make a file or a folder visible under ``key`` and return its URI.

        ``key`` must be made from the content's digest (:func:`object_key`): when it is already there, nothing is
        written. A blob of another size under the key (torn by a power failure) is replaced.
        """
        if source.is_dir():
            return self.commit_folder(source, key, folder_manifest(source))
        self._ensure(self.key_of(key), source)
        return self.uri_of(key)

    def commit_folder(self, source: Path, key: str, manifest: bytes) -> str:
        """Like :meth:`commit` for a folder whose manifest is known. The manifest is what makes it visible."""
        folder = self.key_of(key).removesuffix(TREE)
        if self.find_size(folder + TREE) != len(manifest):
            self._ensure_all((f"{folder}/{name}", path) for name, path in files_of(source))
            reach("artifacts.commit.before_manifest")
            self._ensure(folder + TREE, manifest)
        return self.uri_of(folder + TREE)

    def put_bytes(self, key: str, data: bytes, *, overwrite: bool = False) -> str:
        """Write a small control file. Raises ``FileExistsError`` if it is there, unless ``overwrite``."""
        if not self.write(self.key_of(key), data, overwrite=overwrite):
            raise FileExistsError(self.uri_of(key))
        return self.uri_of(key)

    def get_bytes(self, uri: str) -> bytes:
        with self.open(uri) as file:
            return file.read()

    def list(self, prefix: str) -> Iterator[str]:
        """URIs of everything whose key begins with ``prefix``."""
        return (self.uri_of(key) for key in self.keys(self.key_of(prefix) if prefix else ""))

    def local_path(self, uri: str) -> Path | None:
        """Where the blob is on this machine's disk, if this store is a local one. Read-only: never write there."""
        return None

    def delete(self, uri: str) -> None:
        """Remove a blob or a folder. What refers to it will raise ``ArtifactNotFound``."""
        key = self.key_of(uri)
        names: list[str] = []
        if key.endswith(TREE) and self.exists(uri):
            names = [str(file["name"]) for file in read_manifest(self.get_bytes(uri), uri)]
        self.remove(key)
        self.remove_all(f"{key.removesuffix(TREE)}/{name}" for name in names)

    def remove_all(self, keys: Iterable[str]) -> None:
        """Remove many keys, those that are there. A store that can does it in parallel."""
        for key in keys:
            self.remove(key)

    def sweep(self, seconds: float) -> int:
        """Remove what writers that died have left behind, invisible, at least so long ago; returns how many."""
        return 0

    def check(self) -> CheckResult:
        """Write, read back, prove that a second write is refused, delete. Never raises for an outage."""
        key = f"checks/{uuid.uuid4().hex}"
        began = time.perf_counter()
        try:
            self.write(key, b"windsock")
            same = self.get_bytes(key) == b"windsock"
            exclusive = not self.write(key, b"somebody else")
            listed = key in set(self.keys("checks/"))
            self.remove(key)
            gone = self.find_size(key) is None
        except (ArtifactError, OSError) as error:
            hint = getattr(error, "hint", None)
            return CheckResult(ok=False, detail=getattr(error, "message", str(error)), hint=hint)
        milliseconds = (time.perf_counter() - began) * 1000
        if same and exclusive and listed and gone:
            detail = f"{self.root}: wrote, read, refused an overwrite, listed and deleted, {milliseconds:.0f} ms"
            return CheckResult(ok=True, detail=detail)
        outcome = f"read back {same}, overwrite refused {exclusive}, listed {listed}, deleted {gone}"
        return CheckResult(
            ok=False,
            detail=f"{self.root} answers but does not keep its promises: {outcome}.",
            hint="Use a storage with conditional writes (If-None-Match) and read-after-write consistency.",
        )

    # ------------------------------------------------------------------ for saving and subclasses

    def read_start(self, key: str, size: int) -> tuple[bytes, int]:
        """The first bytes under a key, and how many there are in all. Raises ``ArtifactNotFound``."""
        with self.read(key) as file:
            return file.read(size), file.seek(0, io.SEEK_END)

    def content_key(self, digest: str, extension: str = "") -> str:
        """The key under which content of that digest is committed."""
        return object_key(digest, extension)

    def writer(self, path: Path, extension: str = "") -> HashingFile:
        """A file to write content into, at a path of :meth:`stage`; it is committed under :meth:`content_key`."""
        return HashingFile(path)

    def recordable(self, facts: dict[str, Any]) -> dict[str, Any]:
        """What of a value's facts (schema, preview, statistics) may be recorded in the metadata."""
        return facts

    def is_encrypted(self, uri: str) -> bool:
        """Whether what lies there has to be opened with a key."""
        return False

    @property
    def is_local(self) -> bool:
        """Whether reading twice costs no network."""
        return self.local_path("objects") is not None

    @property
    def cache(self) -> BlobCache | None:
        """Where what was fetched from this store is kept on this machine, if it is."""
        return None

    def describe(self) -> dict[str, Any]:
        """How another process builds this store: ``build_store``. Connection ids, and never a secret."""
        cls = type(self)
        return {"class": f"{cls.__module__}:{cls.__qualname__}", "config": self.config.model_dump(mode="json")}

    def connections(self) -> tuple[str, ...]:
        """Ids of the Airflow connections that another process needs to use this store."""
        connection = getattr(self.config, "connection", None)
        return (connection,) if connection else ()

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """A path for a file or folder to be committed, removed afterwards. Local stores put it near the target."""
        with tempfile.TemporaryDirectory(prefix="windsock-") as folder:
            yield Path(folder) / "value"

    def uri_of(self, key: str) -> str:
        return f"{self.root}/{self.key_of(key)}"

    def key_of(self, uri: str) -> str:
        """The key of a URI of this store (a key is returned as it is). Raises ``ArtifactNotFound`` for foreign ones."""
        key = uri.removeprefix(f"{self.root}/")
        if "://" in key:
            raise ArtifactNotFound(
                f"{uri} is not in this artifact store, whose root is {self.root}.",
                hint="Use the stack that wrote it (windsock stack list), or copy the artifact over.",
                uri=uri,
            )
        if key.startswith("/") or ".." in key.split("/"):
            raise ArtifactNotFound(f"{uri!r} leaves the artifact store {self.root}.", uri=uri)
        return key

    def not_found(self, uri: str) -> ArtifactNotFound:
        return ArtifactNotFound(
            f"{self.uri_of(uri)} is not in the artifact store.",
            hint="It was deleted, or the store was changed. Run the step again: windsock run MODULE:PIPELINE",
            uri=uri,
        )

    def unavailable(self, doing: str, error: BaseException | str, hint: str | None = None) -> StoreUnavailable:
        first_line = str(error).strip().split("\n", 1)[0] or type(error).__name__
        return StoreUnavailable(
            f"Artifact store {self.root} does not work: {doing} failed: {first_line}",
            hint=hint or "See what is wrong with it: windsock stack check",
            root=self.root,
        )

    def _ensure_all(self, files: Iterable[tuple[str, Path]]) -> None:
        """The files of a folder, in any order. A store that can does it in parallel."""
        for key, path in files:
            self._ensure(key, path)
            reach("artifacts.commit.folder_file")

    def _ensure(self, key: str, source: Path | bytes) -> None:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if self.find_size(key) == size:
            return
        if not self.write(key, source) and self.find_size(key) != size:
            self.write(key, source, overwrite=True)
