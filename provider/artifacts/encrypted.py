"""An encrypted artifact store: any other store, with everything sealed before it gets there.

``encryption: {key: …}`` in the options of an artifact store makes one of these around it. To all callers it is a store
like every other: digests are those of the plain content, identical content is stored once, folders, control files and
commits behave the same. What was stored before encryption was switched on is read as it is.

What lies in the store below:

- ``objects/``: sealed files (:mod:`..security.sealing`). Their names are keyed digests, ``ab12….sealed.arrow``, so that
  nobody can tell from a name which content there is; names of files inside folders are keyed as well.
- control files (invocations, results, reports, signatures): sealed under their own names.
- ``keys/``: data keys, wrapped (:mod:`.data_keys`).
- ``predictions/``: **not** sealed. The prediction log is Parquet for other tools to read.

Plain content is never written into the store's own folder. It goes through a private folder only where a format
needs a file (:mod:`.private`).
"""

from __future__ import annotations

import io
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import blake3

from ..component import CheckResult
from ..errors import ArtifactCorrupted, ArtifactError, ArtifactNotFound, WindsockError
from ..security.keys import connections_of
from ..security.sealing import (
    HEADER_SIZE,
    DataKey,
    SealedReader,
    is_sealed,
    key_id_of,
    plain_size,
    seal,
    sealed_size,
)
from .data_keys import FOLDER, DataKeys, RekeyResult
from .digests import HashingFile, files_of, hex_of
from .private import private_folder
from .sealed_files import SealingFile, seal_file
from .store import TREE, ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from .store import EncryptionConfig

MARK = ".sealed"
_MEMBER = "m-"
_OBJECT = re.compile(rf"objects/[0-9a-f]{{2}}/[0-9a-f]{{64}}{re.escape(MARK)}[^/]*")
_PLAIN = (FOLDER, "predictions/")
_SHAPES = {"dtype", "files", "length", "parameters", "pickle", "rows", "schema", "shape"}
"""Facts about a value that tell how it is made and not what it says."""
_IN_MEMORY = 8 << 20
"""Smaller files are sealed in memory; bigger ones through a file of the store below's own staging."""
_BATCH_FILES, _BATCH_BYTES = 512, 256 << 20


class EncryptedArtifactStore(ArtifactStore):
    """See the module. As thread-safe as the store below; between processes, a key is there before what it seals."""

    def __init__(self, inner: ArtifactStore, encryption: EncryptionConfig) -> None:
        super().__init__(inner.config, inner._context)
        self.inner = inner
        self.encryption = encryption
        self.keys_of = DataKeys(inner, encryption.key, encryption.previous, lambda: inner.context.credentials)
        self.memory_map = inner.memory_map  # for what was stored before encryption
        self.workers = inner.workers
        self._stages: dict[Path, ExitStack] = {}
        self._staged: dict[Path, tuple[Path, DataKey]] = {}

    @property
    def root(self) -> str:
        return self.inner.root

    # ------------------------------------------------------------------ the five methods

    def find_size(self, key: str) -> int | None:
        where = self._where(key)
        if where.startswith(_PLAIN):
            return self.inner.find_size(where)
        if _OBJECT.match(where):  # its name says that it is sealed
            size = self.inner.find_size(where)
            return None if size is None else plain_size(size) or 0
        start, size = self._start(where)
        return (plain_size(size) or 0) if size is not None and is_sealed(start or b"") else size

    def exists(self, uri: str) -> bool:
        return self.inner.find_size(self._where(self.key_of(uri))) is not None

    def read(self, key: str) -> BinaryIO:
        where = self._where(key)
        raw = self.inner.read(where)
        if where.startswith(_PLAIN):
            return raw
        try:
            return self._unsealed(raw, where)
        except BaseException:
            raw.close()
            raise

    def write(self, key: str, source: Path | bytes, *, overwrite: bool = False) -> bool:
        where = self._where(key)
        if where.startswith(_PLAIN):
            return self.inner.write(where, source, overwrite=overwrite)
        if not overwrite and self.inner.find_size(where) is not None:
            return False
        data_key = self._present_key(where) if overwrite else None
        if data_key is None:
            data_key = DataKey.new()
            self.keys_of.keep(data_key)
        with self._sealed(source, data_key, where) as sealed:
            return self.inner.write(where, sealed, overwrite=overwrite)

    def keys(self, prefix: str) -> Iterator[str]:
        return self.inner.keys(prefix)

    def remove(self, key: str) -> None:
        """Remove an object; the data key of a whole artifact goes with it, so that no copy of it can be read."""
        where = self._where(key)
        whole = _OBJECT.fullmatch(where) or not where.startswith(("objects/", *_PLAIN))
        key_id = self._key_id(where) if whole else None
        self.inner.remove(where)
        if key_id is not None:
            self.keys_of.forget(key_id)

    # ------------------------------------------------------------------ what is done otherwise than in the base

    def content_key(self, digest: str, extension: str = "") -> str:
        """Where content of that digest is sealed: a keyed digest, the same for all who have the key."""
        name = blake3.blake3(bytes.fromhex(hex_of(digest)), key=self.keys_of.naming()).hexdigest()
        return f"objects/{name[:2]}/{name}{MARK}{extension}"

    def get_bytes(self, uri: str) -> bytes:
        where = self._where(self.key_of(uri))
        data = self.inner.get_bytes(where)
        if where.startswith(_PLAIN):
            return data
        with self._unsealed(io.BytesIO(data), where) as file:
            return file.read()

    def remove_all(self, keys: Iterable[str]) -> None:
        """Many at once. Files inside folders share their manifest's key, which went with it."""
        places = [self._where(key) for key in keys]
        with ThreadPoolExecutor(max(1, self.workers), "windsock-remove") as pool:
            for _ in pool.map(self.remove, [where for where in places if _OBJECT.fullmatch(where)]):
                pass
        self.inner.remove_all(where for where in places if not _OBJECT.fullmatch(where))

    def sweep(self, seconds: float) -> int:
        return self.inner.sweep(seconds)

    def local_path(self, uri: str) -> Path | None:
        """Only of what is not encrypted: it may be read, and mapped, where it is."""
        where = self._where(self.key_of(uri))
        path = self.inner.local_path(where)
        if path is None or where.startswith(_PLAIN):
            return path
        return None if self.is_encrypted(uri) or not self.encryption.allow_unencrypted else path

    def recordable(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Without ``previews`` only facts that hold no value of the content: its shape, its schema."""
        return facts if self.encryption.previews else {key: facts[key] for key in facts if key in _SHAPES}

    def is_encrypted(self, uri: str) -> bool:
        """Whether the object is sealed, by its name or by its first bytes. False if it is not there."""
        where = self._where(self.key_of(uri))
        if _OBJECT.match(where):
            return True
        return not where.startswith(_PLAIN) and is_sealed(self._start(where)[0] or b"")

    @property
    def is_local(self) -> bool:
        """Whether the sealed file can be read again and again without a network."""
        return self.inner.is_local

    def describe(self) -> dict[str, Any]:
        below = self.inner.describe()
        return {**below, "config": {**below["config"], "encryption": self.encryption.model_dump(mode="json")}}

    def connections(self) -> tuple[str, ...]:
        given = [*self.inner.connections()]
        for key in (self.encryption.key, *self.encryption.previous):
            given += connections_of(key)
        return tuple(dict.fromkeys(given))

    def check(self) -> CheckResult:
        """As the store below, and then through the encryption: the key is there and opens what it closed."""
        below = self.inner.check()
        if not below.ok:
            return below
        try:
            current = self.keys_of.service().current()
            self.keys_of.naming()
            result = super().check()
        except WindsockError as error:
            return CheckResult(ok=False, detail=error.message, hint=error.hint)
        if result.ok:
            return CheckResult(ok=True, detail=f"{result.detail}; encrypted under key {current}")
        return result

    def rekey(self, *, dry_run: bool = False, progress: Callable[[int], Any] = lambda done: None) -> RekeyResult:
        """Wrap all data keys with the current key: see :meth:`.data_keys.DataKeys.rekey`."""
        return self.keys_of.rekey(dry_run=dry_run, progress=progress)

    # ------------------------------------------------------------------ saving

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """A path in a private folder, for what has to be a plain file first; streams never touch it."""
        with private_folder() as folder, ExitStack() as stack:
            path = folder / "value"
            self._stages[path] = stack
            try:
                yield path
            finally:
                self._staged.pop(path, None)
                del self._stages[path]

    def writer(self, path: Path, extension: str = "") -> HashingFile:
        """A file that seals what is written into it; it lies in the staging of the store below."""
        stack = self._stages.get(path)
        if stack is None:  # not a path of ours: somebody's plain file
            return super().writer(path, extension)
        data_key = DataKey.new()
        sealed = stack.enter_context(self.inner.stage())
        self._staged[path] = (sealed, data_key)
        return SealingFile(sealed, data_key, lambda digest: self.content_key(digest, extension))

    def commit(self, source: Path, key: str) -> str:
        staged = self._staged.get(source)
        if staged is None or source.exists():
            return super().commit(source, key)
        sealed, data_key = staged
        self._place(self._where(self.key_of(key)), sealed, data_key)
        return self.uri_of(key)

    def commit_folder(self, source: Path, key: str, manifest: bytes) -> str:
        """As in every store. One data key seals all files, each under a key of its own that is derived from it."""
        folder = self.key_of(key).removesuffix(TREE)
        if self._is_there(folder + TREE, sealed_size(len(manifest))):
            return self.uri_of(folder + TREE)
        data_key = DataKey.new()
        self.keys_of.keep(data_key)
        present = set(self.inner.keys(f"{folder}/"))
        batch: list[tuple[str, Path]] = []
        size = 0
        for name, path in files_of(source):
            batch.append((self._where(f"{folder}/{name}"), path))
            size += path.stat().st_size
            if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES:
                self._place_all(batch, data_key, present)
                batch, size = [], 0
        self._place_all(batch, data_key, present)
        self._place(folder + TREE, seal(manifest, data_key, folder + TREE), data_key, kept=True)
        return self.uri_of(folder + TREE)

    def _place_all(self, batch: list[tuple[str, Path]], data_key: DataKey, present: set[str]) -> None:
        """Files of a folder: those that are not there by the parallel way of the store below."""
        with self.inner.stage() as folder:
            folder.mkdir()
            fresh: list[tuple[str, Path]] = []
            for number, (where, path) in enumerate(batch):
                sealed = folder / str(number)
                seal_file(path, sealed, data_key, where)
                if where in present:
                    self._place(where, sealed, data_key, kept=True)
                else:
                    fresh.append((where, sealed))
            self.inner._ensure_all(fresh)

    def _ensure(self, key: str, source: Path | bytes) -> None:
        where = self._where(key)
        if where.startswith(_PLAIN):
            self.inner._ensure(where, source)
            return
        data_key = DataKey.new()
        with self._sealed(source, data_key, where) as sealed:
            self._place(where, sealed, data_key)

    def _place(self, where: str, sealed: Path | bytes, data_key: DataKey, *, kept: bool = False) -> None:
        """Make sealed content visible, unless the same content is there and can be opened."""
        size = len(sealed) if isinstance(sealed, bytes) else sealed.stat().st_size
        if self._is_there(where, size):
            return
        if not kept:
            self.keys_of.keep(data_key)
        if not self.inner.write(where, sealed) and not self._is_there(where, size):
            self.inner.write(where, sealed, overwrite=True)

    def _is_there(self, where: str, size: int) -> bool:
        """Whole, and with its data key: what was half deleted is stored again."""
        start, found = self._start(where)
        return start is not None and found == size and is_sealed(start) and self.keys_of.is_kept(key_id_of(start))

    # ------------------------------------------------------------------ names and keys

    def _where(self, key: str) -> str:
        """The name below. That of a file inside a sealed folder is keyed; one that is already stays as it is."""
        found = _OBJECT.match(key)
        if found is None or found.end() == len(key):
            return key
        name = key[found.end() + 1 :]
        if re.fullmatch(rf"{_MEMBER}[0-9a-f]{{40}}", name):
            return key
        keyed = blake3.blake3(key.encode(), key=self.keys_of.naming()).hexdigest(length=20)
        return f"{found.group()}/{_MEMBER}{keyed}"

    def _unsealed(self, raw: Any, where: str) -> BinaryIO:
        size = raw.seek(0, io.SEEK_END)
        raw.seek(0)
        beginning = raw.read(HEADER_SIZE)
        raw.seek(0)
        if is_sealed(beginning) or _OBJECT.match(where):
            reader = SealedReader(raw, size, name=where, uri=self.inner.uri_of(where), find_key=self.keys_of.find)
            return cast("BinaryIO", reader)
        if not self.encryption.allow_unencrypted:
            raise ArtifactCorrupted(
                f"{self.inner.uri_of(where)} is not encrypted, and this store reads only what is.",
                hint="If it is older than the encryption of this store: allow_unencrypted: true",
                uri=self.inner.uri_of(where),
            )
        return cast("BinaryIO", raw)

    def _start(self, where: str) -> tuple[bytes | None, int | None]:
        """The header of an object and the object's size, by one look; None if there is no such object."""
        try:
            return self.inner.read_start(where, HEADER_SIZE)
        except ArtifactNotFound:
            return None, None

    def _key_id(self, where: str) -> bytes | None:
        """The data key that an object names; None if there is no object, or it is not sealed."""
        start, _ = self._start(where)
        return key_id_of(start) if start is not None and is_sealed(start) and len(start) == HEADER_SIZE else None

    def _present_key(self, where: str) -> DataKey | None:
        """The key of what is to be overwritten: it is used again, so that a file written often has one key."""
        key_id = self._key_id(where)
        if key_id is None or not self.keys_of.is_kept(key_id):
            return None
        try:
            return DataKey(key_id, self.keys_of.find(key_id))
        except ArtifactError:
            return None

    @contextmanager
    def _sealed(self, source: Path | bytes, data_key: DataKey, where: str) -> Iterator[Path | bytes]:
        """The sealed form of content: in memory if it is small, else a file in the staging of the store below."""
        if not isinstance(source, bytes) and source.stat().st_size <= _IN_MEMORY:
            source = source.read_bytes()
        if isinstance(source, bytes):
            yield seal(source, data_key, where)
            return
        with self.inner.stage() as staged:
            seal_file(source, staged, data_key, where)
            yield staged

    def __reduce__(self) -> Any:
        return type(self), (self.inner, self.encryption)
