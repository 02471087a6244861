"""Data keys of encrypted artifacts: each wrapped by a key-encryption key, in a small object of the store itself.

``keys/ab/<id>.json`` holds one wrapped data key and is written before anything that it seals; ``keys/names.json`` holds
the one that makes object names of digests. Changing the key-encryption key writes these anew and touches no data.

A data key's id is random, so two processes that store the same content at once have two keys: whoever's object stays
names its own. The other key is never used and never in the way.
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ArtifactCorrupted, ArtifactError, ArtifactNotFound, EncryptionKeyNotFound, EncryptionKeyWrong
from ..faults import reach
from ..security.keys import open_service
from ..security.sealing import DataKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..security.credentials import Credentials
    from ..security.keys import KeyService
    from .store import ArtifactStore

FOLDER = "keys/"
_NAMES = FOLDER + "names.json"
_NAMES_LABEL = "names"
_CACHED = 4096
_THREADS = 16

Rewrapped = Literal["current", "rewrapped", "gone"]


@dataclass
class RekeyResult:
    """What a rotation found: how many wrapped keys were ``current`` already, and how many it wrapped anew.

    ``failed`` names those that could not be, with the reason; the old key is needed until there are none.
    """

    key_id: str
    current: int = 0
    rewrapped: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.current + self.rewrapped + len(self.failed)


class DataKeys:
    """The data keys of one store. Thread-safe. Unwrapped keys are kept in memory, and nowhere else."""

    def __init__(self, store: ArtifactStore, key: str, previous: Iterable[str], credentials: Callable[[], Credentials]):
        self._store = store
        self._key, self._previous = key, tuple(previous)
        self._credentials = credentials
        self._services: dict[str, KeyService] = {}
        self._cache: OrderedDict[bytes, bytes] = OrderedDict()
        self._names: bytes | None = None
        self._lock = Lock()

    def keep(self, key: DataKey) -> None:
        """Make a new data key durable: before anything is visible that it seals."""
        self._store.write(path_of(key.id), self._wrap(key.secret, key.id.hex()), overwrite=False)
        reach("artifacts.encryption.key_kept")
        self._remember(key.id, key.secret)

    def find(self, key_id: bytes) -> bytes:
        """The secret of a data key.

        Raises ``EncryptionKeyNotFound`` when its object is gone, ``EncryptionKeyWrong`` when no key that is given
        wrapped it, ``ArtifactCorrupted`` when it was changed.
        """
        with self._lock:
            secret = self._cache.get(key_id)
            if secret is not None:
                self._cache.move_to_end(key_id)
                return secret
        secret = self._unwrap(self._read(path_of(key_id)), key_id.hex())
        self._remember(key_id, secret)
        return secret

    def is_kept(self, key_id: bytes) -> bool:
        """Whether the wrapped key is there: one look-up, never from memory."""
        return bool(self._store.find_size(path_of(key_id)))

    def forget(self, key_id: bytes) -> None:
        """Remove a data key: what it sealed cannot be read any more, copies and backups included."""
        with self._lock:
            self._cache.pop(key_id, None)
        self._store.remove(path_of(key_id))

    def naming(self) -> bytes:
        """The secret that names of objects are made with; made on first use, the same for every process."""
        if self._names is None:
            try:
                wrapped = self._read(_NAMES)
            except EncryptionKeyNotFound:
                made = DataKey.new().secret
                self._store.write(_NAMES, self._wrap(made, _NAMES_LABEL), overwrite=False)
                wrapped = self._read(_NAMES)  # of racing processes one has won
            self._names = self._unwrap(wrapped, _NAMES_LABEL)
        return self._names

    def service(self) -> KeyService:
        """The service whose key wraps. Raises like :func:`~windsock.provider.security.keys.open_service`."""
        return self._service(self._key)

    # ------------------------------------------------------------------ rotation

    def rekey(self, *, dry_run: bool = False, progress: Callable[[int], Any] = lambda done: None) -> RekeyResult:
        """Wrap every data key with the current key. Idempotent, may be interrupted, may run while others write.

        What others write meanwhile under the old key is found by the next run; the old key may go when a run has
        rewrapped nothing.
        """
        result = RekeyResult(self.service().current())
        keys = (key for key in self._store.keys(FOLDER) if key.endswith(".json"))
        with ThreadPoolExecutor(_THREADS, "windsock-rekey") as pool:
            for batch in _batches(keys, 1000):
                for key, outcome in zip(
                    batch, pool.map(lambda key: self._rewrap(key, dry_run=dry_run), batch), strict=True
                ):
                    if isinstance(outcome, ArtifactError):
                        result.failed.append((key, outcome.message))
                    elif outcome == "current":
                        result.current += 1
                    elif outcome == "rewrapped":
                        result.rewrapped += 1
                    progress(1)
        return result

    def _rewrap(self, key: str, *, dry_run: bool) -> Rewrapped | ArtifactError:
        label = _NAMES_LABEL if key == _NAMES else key.rpartition("/")[2].removesuffix(".json")
        try:
            wrapped = self._read(key)
            if wrapped["kek"] == self.service().current():
                return "current"
            secret = self._unwrap(wrapped, label)
            if not dry_run:
                reach("artifacts.encryption.before_rewrap")
                self._store.write(key, self._wrap(secret, label), overwrite=True)
        except EncryptionKeyNotFound:
            return "gone"  # with its artifact, a moment ago
        except ArtifactError as error:
            return error
        return "rewrapped"

    # ------------------------------------------------------------------ wrapping

    def _wrap(self, secret: bytes, label: str) -> bytes:
        key_id, wrapped = self.service().wrap(secret, label)
        return json.dumps(
            {"windsock": 1, "id": label, "kek": key_id, "wrapped": base64.b64encode(wrapped).decode()}
        ).encode()

    def _unwrap(self, wrapped: dict[str, Any], label: str) -> bytes:
        key_id = str(wrapped["kek"])
        for name in (self._key, *self._previous):
            service = self._service(name)
            if service.holds(key_id):
                try:
                    return service.unwrap(key_id, base64.b64decode(wrapped["wrapped"]), label)
                except ValueError:
                    raise _damaged(label) from None
        given = ", ".join((self._key, *self._previous))
        raise EncryptionKeyWrong(
            f"Data key {label} of {self._store.root} was wrapped by key {key_id}, which is not among those of {given}.",
            hint="Add the old key to the connection, behind a comma, or its service to `previous` of the encryption.",
            key_id=key_id,
        )

    def _read(self, key: str) -> dict[str, Any]:
        try:
            data = self._store.get_bytes(key)
        except ArtifactNotFound:
            raise EncryptionKeyNotFound(
                f"The wrapped data key {self._store.uri_of(key)} is gone; what it encrypted cannot be read.",
                hint="Restore the store's folder keys/ from a backup, or run again what made the artifact.",
                uri=self._store.uri_of(key),
            ) from None
        try:
            wrapped = json.loads(data)
            if (
                wrapped["windsock"] != 1
                or not isinstance(wrapped["kek"], str)
                or not isinstance(wrapped["wrapped"], str)
            ):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise _damaged(self._store.uri_of(key)) from None
        return dict(wrapped)

    def _service(self, name: str) -> KeyService:
        with self._lock:
            found = self._services.get(name)
        if found is None:
            found = open_service(name, self._credentials())
            with self._lock:
                self._services[name] = found
        return found

    def _remember(self, key_id: bytes, secret: bytes) -> None:
        with self._lock:
            self._cache[key_id] = secret
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)


def path_of(key_id: bytes) -> str:
    digits = key_id.hex()
    return f"{FOLDER}{digits[:2]}/{digits}.json"


def _damaged(what: str) -> ArtifactCorrupted:
    return ArtifactCorrupted(
        f"The wrapped key {what} was changed or damaged.", hint="Restore it from a backup of the store's folder keys/."
    )


def _batches(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for key in keys:
        batch.append(key)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
