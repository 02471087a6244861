"""Saving values and loading them again: the two functions that everybody calls.

``save`` chooses a materializer by the value's type, writes to a temporary place while the digest is computed, and
commits under a key made from the digest. ``load`` finds the materializer by what was recorded, verifies the digest, and
gives the value back. Neither touches metadata: the caller records what ``save`` returns.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from ..errors import ArtifactCorrupted, ArtifactNotFound, MaterializerNotFound, PickleRefused, StoreUnavailable
from .digests import (
    BackgroundDigest,
    Hasher,
    copy_stream,
    digest_bytes,
    digest_file,
    files_of,
    folder_manifest,
    read_manifest,
)
from .materializers.base import BufferMaterializer, LoadRequest, Materializer, StreamMaterializer
from .materializers.choose import materializer_for, materializer_named, materializer_of, public_name
from .private import PrivateFolder
from .recent import place_of, recall, remember
from .store import TREE, ArtifactStore
from .unsealing import NEEDS_A_FILE, load_encrypted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .cache import BlobCache

_IN_BACKGROUND = 1 << 20
"""Smaller files are verified before they are read, bigger ones meanwhile."""
_MAPPED_FROM = 64 << 20
_CHUNK = 8 << 20
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_PATH_TYPES = {"pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath", "Path"}


@dataclass(frozen=True)
class StoredArtifact:
    """What was stored: enough to record it and to load it again. ``size`` is in bytes."""

    uri: str
    digest: str
    size: int
    type: str
    materializer: str
    metadata: dict[str, Any] = field(default_factory=dict)


def save(
    value: Any, store: ArtifactStore, *, declared_type: str | None = None, allow_pickle: bool = False
) -> StoredArtifact:
    """Store a value. The same value gives the same digest and URI, and is stored once.

    ``declared_type`` is the annotation of the step's output: it makes a ``str`` declared as a path the file that it
    names. Raises ``MaterializerNotFound`` and ``StoreUnavailable``. Thread-safe.
    """
    if declared_type in _PATH_TYPES and isinstance(value, (str, PurePath)):
        value = Path(value)
    materializer = materializer_for(value, allow_pickle=allow_pickle)
    with store.stage() as path:
        try:
            try:
                digest, size, manifest, facts = _write(materializer, value, path, store)
            except MaterializerNotFound:  # it knows the type, but not what this value holds
                if not allow_pickle or materializer.name == "pickle":
                    raise
                materializer = materializer_named("pickle")
                digest, size, manifest, facts = _write(materializer, value, path, store)
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            raise StoreUnavailable(
                f"Artifact store {store.root} does not work: writing {path} failed: {error.strerror}",
                hint="Free space there, or point the artifact store elsewhere.",
                root=store.root,
            ) from error
        extension = materializer.extension_of(value)
        if manifest is None:
            uri = store.commit(path, store.content_key(digest, extension))
        else:
            uri = store.commit_folder(path, store.content_key(digest, extension + TREE), manifest)
    return StoredArtifact(uri, digest, size, public_name(type(value)), materializer.name, store.recordable(facts))


def _write(
    materializer: Materializer, value: Any, path: Path, store: ArtifactStore
) -> tuple[str, int, bytes | None, dict[str, Any]]:
    """Digest, size and, of a folder, manifest of what the materializer wrote; and what is to be known about it."""
    if isinstance(materializer, StreamMaterializer) and materializer.streams(value):
        with store.writer(path, materializer.extension_of(value)) as file:
            materializer.write(value, file)
        return file.digest, file.size, None, {**materializer.describe(value), **file.facts}
    facts = materializer.save_described(value, path)
    if path.is_dir():
        manifest = folder_manifest(path)
        return digest_bytes(manifest), sum(f.stat().st_size for _, f in files_of(path)), manifest, facts
    return digest_file(path), path.stat().st_size, None, facts


def load(
    ref: Mapping[str, Any],
    store: ArtifactStore,
    *,
    allow_pickle: bool = False,
    verify: bool = True,
    columns: Sequence[str] | None = None,
) -> Any:
    """The value of a reference (``uri``, ``digest``, ``type``, perhaps ``materializer``).

    Formats that could do harm are verified before they are read, whatever ``verify`` says; others while they are.
    ``columns`` reads only those of a table. Raises ``ArtifactNotFound``, ``ArtifactCorrupted``, ``PickleRefused``,
    ``StoreUnavailable``.
    """
    request = LoadRequest(str(ref["type"]), columns, ref.get("materializer"), store)
    materializer = materializer_of(request.type, str(ref["uri"]), request.materializer)
    if materializer.unsafe and not allow_pickle:
        raise PickleRefused(
            f"The artifact {ref['uri']} is a pickle of {ref['type']}; loading it would run code.",
            hint="If you trust who wrote it, allow pickle for the step that reads it: @step(pickle=True)",
            uri=ref["uri"],
        )
    verify = verify or materializer.verify_first
    if store.is_encrypted(str(ref["uri"])):
        value = load_encrypted(materializer, request, ref, store, verify=verify)
        if value is not NEEDS_A_FILE:
            return value
    with ExitStack() as stack:
        path = stack.enter_context(localized(ref, store, verify=verify, keep=materializer.keeps_path))
        if isinstance(materializer, BufferMaterializer) and (size := _size_for_memory(materializer, path)) is not None:
            place = place_of(path, str(ref["digest"]), request.type, columns) if store.memory_map else None
            if place is not None and (known := recall(place)) is not None:
                return known
            mapped = materializer.mappable and store.memory_map and size >= _MAPPED_FROM
            careful = verify or not materializer.mappable
            data, digest = _map(path, verify=careful) if mapped else _read(path, verify=careful)
            if careful:
                require_digest(ref, digest)
            value = materializer.read(data, request)
            if place is not None and careful:
                remember(place, value)
            return value
        if not verify or path.is_dir() or store.local_path(str(ref["uri"])) is None:
            return materializer.load(path, request)  # verified while it was fetched, or not to be
        return _load_verifying(materializer, path, request, ref)


def _size_for_memory(materializer: BufferMaterializer, path: Path) -> int | None:
    """The size of a file that is to be read into memory; None if it is too big for that, or a folder."""
    found = path.stat()
    limit = materializer.in_memory_below
    return found.st_size if stat.S_ISREG(found.st_mode) and (limit is None or found.st_size < limit) else None


def _load_verifying(materializer: Materializer, path: Path, request: LoadRequest, ref: Mapping[str, Any]) -> Any:
    if path.stat().st_size < _IN_BACKGROUND or materializer.verify_first:
        require_digest(ref, digest_file(path))
        return materializer.load(path, request)
    digest = BackgroundDigest(path)
    try:
        value = materializer.load(path, request)
    except Exception:
        require_digest(ref, digest.result())  # what is wrong with the file explains the error best
        raise
    require_digest(ref, digest.result())
    return value


def _map(path: Path, *, verify: bool) -> tuple[memoryview, str]:
    """A file as a private copy-on-write map, and its digest; hashing also brings the pages in."""
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    return data, digest_bytes(data, parallel=True) if verify else ""


def _read(path: Path, *, verify: bool) -> tuple[memoryview, str]:
    """A file's content in memory of its own, and its digest, hashed while it is read."""
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size < _IN_BACKGROUND:
            data = memoryview(bytearray(file.read()))
            return data, digest_bytes(data)
        import numpy as np

        hasher = Hasher()
        memory = memoryview(np.empty(size, np.uint8))  # type: ignore[arg-type]  # bytearray would zero it first
        position = 0
        while position < size:
            read = file.readinto(memory[position : position + _CHUNK])
            if not read:
                break
            if verify:
                hasher.update(memory[position : position + read])
            position += read
        return memory[:position], f"blake3:{hasher.hexdigest()}"


def require_digest(ref: Mapping[str, Any], found: str) -> None:
    """Raise ``ArtifactCorrupted`` unless the content has the digest that was recorded."""
    if found != ref["digest"]:
        raise ArtifactCorrupted(
            f"The content of {ref['uri']} is not what was stored: its digest is {found}, recorded was {ref['digest']}.",
            hint="It was changed or damaged. Run: windsock artifact verify --remove, then run again what made it.",
            uri=ref["uri"],
            found=found,
            recorded=ref["digest"],
        )


def available(ref: Mapping[str, Any], store: ArtifactStore) -> bool:
    """Whether the content is still there: one look-up, no read. Raises ``StoreUnavailable`` rather than guess."""
    try:
        return store.exists(str(ref["uri"]))
    except ArtifactNotFound:  # the URI belongs to another store
        return False


@contextmanager
def localized(
    ref: Mapping[str, Any], store: ArtifactStore, *, verify: bool = True, keep: bool = False, cached: bool = True
) -> Iterator[Path]:
    """The artifact as a file or folder on this machine: where it is, or a temporary copy, verified while fetched.

    The copy is removed at the end, or, with ``keep``, when the process ends. A file of a local store is not verified
    here. ``cached=False`` asks the store even for what its cache on this machine holds.
    """
    cache = store.cache if cached else None
    uri = str(ref["uri"])
    here = store.local_path(uri)
    with ExitStack() as stack:
        if uri.endswith(TREE):
            manifest = store.get_bytes(uri)
            require_digest(ref, digest_bytes(manifest))
            files = read_manifest(manifest, uri)
            folder = (
                here.with_suffix("") if here is not None else stack.enter_context(_temporary(keep, cache)) / "value"
            )
            base = uri.removesuffix(TREE)
            parts = [
                ({"uri": f"{base}/{file['name']}", "digest": file["digest"]}, folder / file["name"]) for file in files
            ]
            if here is None:
                _fetch_all(store, parts, verify=verify, cache=cache)
            else:
                for part, path in parts:
                    if not path.is_file():
                        raise store.not_found(part["uri"])
                    if verify:
                        require_digest(part, digest_file(path))
            yield folder
        elif here is not None:
            if not here.is_file():
                raise store.not_found(uri)
            yield here
        else:
            name = uri.rpartition("/")[2]
            path = stack.enter_context(_temporary(keep, cache)) / name
            _fetch(store, ref, path, verify=verify, cache=cache)
            yield path


def _fetch_all(
    store: ArtifactStore, parts: list[tuple[dict[str, str], Path]], *, verify: bool, cache: BlobCache | None
) -> None:
    for folder in {path.parent for _, path in parts}:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max(1, min(store.workers, len(parts))), "windsock-fetch") as pool:
        for _ in pool.map(lambda part: _fetch(store, *part, verify=verify, cache=cache), parts):
            pass


def _fetch(store: ArtifactStore, ref: Mapping[str, Any], path: Path, *, verify: bool, cache: BlobCache | None) -> None:
    digest = str(ref["digest"])
    if cache is not None and cache.link(digest, path, verify=verify):
        return
    with store.open(str(ref["uri"])) as source:
        found = copy_stream(source, path)
    if verify:
        require_digest(ref, found)
    if cache is not None and found == digest:
        cache.add(digest, path)


@contextmanager
def _temporary(keep: bool, cache: BlobCache | None) -> Iterator[Path]:
    """A folder for copies; beside the cache, if there is one, so that they are links to what it holds."""
    folder = PrivateFolder(cache.folder if cache is not None else None)
    try:
        yield folder.path
    finally:
        if not keep:  # its path was handed out: it goes when the process ends
            folder.remove()
