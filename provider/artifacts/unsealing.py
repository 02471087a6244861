"""Loading encrypted values without a decrypted file.

What is read into memory is decrypted into that memory. What is read as a file (Arrow tables) is read from one that
decrypts itself, while another thread compares the digest, as with plain files. Only what needs a path, and what would
have to be fetched twice over a network, goes through a private folder (``saving.localized``).
"""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any, BinaryIO

from ..security.sealing import SealedReader
from .digests import ALGORITHM, Hasher, digest_bytes
from .materializers.base import BufferMaterializer, LoadRequest, Materializer
from .store import TREE, ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Mapping

NEEDS_A_FILE = object()
_SMALL = 1 << 20
_CHUNK = 4 << 20


def load_encrypted(
    materializer: Materializer, request: LoadRequest, ref: Mapping[str, Any], store: ArtifactStore, *, verify: bool
) -> Any:
    """The value of an encrypted artifact, or ``NEEDS_A_FILE``. Raises what ``saving.load`` raises."""
    from .saving import require_digest

    uri = str(ref["uri"])
    if uri.endswith(TREE):
        return NEEDS_A_FILE
    limit = materializer.in_memory_below if isinstance(materializer, BufferMaterializer) else 0
    here = materializer.reads_files and store.is_local
    # Asked before it is opened: opening begins to fetch.
    if not here and limit is not None and (limit == 0 or store.size(uri) >= limit):
        return NEEDS_A_FILE
    with store.open(uri) as file:
        size = file.seek(0, 2)
        file.seek(0)
        if isinstance(materializer, BufferMaterializer) and (limit is None or size < limit):
            careful = verify or not materializer.mappable
            data, digest = _into_memory(file, size, digest=careful)
            if careful:
                require_digest(ref, digest)
            return materializer.read(data, request)
        if not verify:
            return materializer.load_file(file, request)
        digest_of = _Digest(store.open(uri))
        try:
            value = materializer.load_file(file, request)
        except Exception:
            require_digest(ref, digest_of.result())  # what is wrong with the file explains the error best
            raise
        require_digest(ref, digest_of.result())
        return value


def _into_memory(file: BinaryIO, size: int, *, digest: bool) -> tuple[memoryview, str]:
    if size < _SMALL:
        data = memoryview(bytearray(size))
        _fill(file, data)
        return data, digest_bytes(data) if digest else ""
    import numpy as np

    memory = memoryview(np.empty(size, np.uint8))  # type: ignore[arg-type]  # bytearray would zero it first
    hasher = Hasher()
    if isinstance(file, SealedReader):
        file.pour(memory, hasher.update if digest else lambda part: None)
        return memory, f"{ALGORITHM}:{hasher.hexdigest()}"
    for start in range(0, size, _CHUNK):
        part = memory[start : start + _CHUNK]
        _fill(file, part)
        if digest:
            hasher.update(part)
    return memory, f"{ALGORITHM}:{hasher.hexdigest()}"


def _fill(file: Any, target: memoryview) -> None:
    done = 0
    while done < len(target) and (count := file.readinto(target[done:])):
        done += count


class _Digest:
    """The digest of a file's content, computed on a thread of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = ""
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="windsock-verify", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        import blake3

        try:
            with self._file:
                hasher = blake3.blake3()
                buffer = memoryview(bytearray(_SMALL))
                while count := self._file.readinto(buffer):  # type: ignore[attr-defined]  # every raw file has it
                    hasher.update(buffer[:count])
                self._digest = f"{ALGORITHM}:{hasher.hexdigest()}"
        except BaseException as error:  # noqa: BLE001 - handed to the loading thread
            self._error = error

    def result(self) -> str:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._digest
