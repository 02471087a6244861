"""Remove content that nobody needs, while runs write: in two phases, a grace period apart.

A prune marks what is not needed now, and removes what an earlier prune marked, if it is not needed still and nobody has
taken the mark away (:mod:`windsock.provider.metadata.tombstones`). Metadata stay: what was made, by whom and from what
is known for ever; its content is gone, and the step cache takes that for a miss.

Several prunes at once share the work. One that is killed leaves its claim behind; the next one goes on with it when the
lease has run out.
"""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..artifacts.store import TREE
from ..errors import ArtifactError
from ..faults import reach
from ..metadata.records import now as present
from .orphans import find_orphans, size_of
from .survey import fingerprint, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from ..artifacts.store import ArtifactStore
    from ..metadata.store import Metadata
    from ..metadata.tombstones import Tombstone
    from .policy import RetentionPolicy

_LOG = logging.getLogger(__name__)
LEASE = timedelta(minutes=15)
"""So long a claim is its owner's alone. The owner stops well before."""
_LEFT_BEHIND = timedelta(days=1)
"""A temporary file may be open for as long as a step takes to write it."""
_FORGET = timedelta(days=90)
_BATCH = 100


@dataclass
class PruneSummary:
    """What a prune found and did; sizes in bytes. In a dry run ``removed`` is what would be removed now."""

    dry_run: bool
    store: str
    runs_kept: int = 0
    runs_expired: int = 0
    versions_kept: int = 0
    versions_expired: int = 0
    orphans: int = 0
    marked: int = 0
    marked_bytes: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    unmarked: int = 0
    removed: int = 0
    removed_bytes: int = 0
    failed: int = 0
    leftovers: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def prune(
    metadata: Metadata,
    store: ArtifactStore,
    policy: RetentionPolicy,
    *,
    dry_run: bool = False,
    actor: str = "unknown",
    reason: str | None = None,
    grace: timedelta | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> PruneSummary:
    """Mark, and remove what was marked more than ``grace`` ago (default: the policy's). Writes one audit event.

    ``grace`` must be longer than any transaction on the metadata database takes. Raises ``StoreUnavailable`` and
    ``MetadataUnavailable`` before anything is removed; later, what fails is counted and left to the next prune.
    """
    grace = policy.grace if grace is None else grace
    work = _Prune(metadata, store, policy, dry_run=dry_run, grace=grace, progress=progress or _quietly)
    return work.run(actor, reason)


def _quietly(doing: str, removed: int) -> None:
    """Nobody watches."""


class _Prune:
    """One prune on its way."""

    def __init__(
        self,
        metadata: Metadata,
        store: ArtifactStore,
        policy: RetentionPolicy,
        *,
        dry_run: bool,
        grace: timedelta,
        progress: Callable[[str, int], None],
    ) -> None:
        self.metadata = metadata
        self.stones = metadata.tombstones
        self.store = store
        self.policy = policy
        self.grace = grace
        self.progress = progress
        self.owner = uuid.uuid4().hex
        self.summary = PruneSummary(dry_run, store.root)
        self.orphans: dict[str, list[str]] = {}

    def run(self, actor: str, reason: str | None) -> PruneSummary:
        began = present()
        unneeded = self._unneeded(began)
        ready = self._look_at_marks(unneeded, began)
        if self.summary.dry_run:
            self.summary.removed, self.summary.removed_bytes = len(ready), sum(ready.values())
            return self.summary
        self._mark(unneeded)
        for uris in _batches(ready):
            self._remove(self.stones.claim(uris, self.owner, marked_before=began - self.grace))
        for stones in _batches(self._abandoned(began)):
            uris = [stone.place for stone in stones]
            self._remove(self.stones.take_over(uris, self.owner, abandoned_before=began - LEASE))
        self.summary.leftovers = self.store.sweep(max(self.grace, _LEFT_BEHIND).total_seconds())
        self.stones.forget(_FORGET)
        self._audit(actor, reason)
        return self.summary

    def _unneeded(self, began: datetime) -> dict[str, int]:
        """URI -> size of what nobody needs, or knows, now."""
        self.progress("Looking at the metadata", 0)
        found = survey(self.metadata, self.store, self.policy, began, self.grace)
        for name in ("runs_kept", "runs_expired", "versions_kept", "versions_expired"):
            setattr(self.summary, name, getattr(found, name))
        if self.policy.orphans and not self._spooled():
            self.progress("Looking at the store", 0)
            gone = {fingerprint(stone.place) for stone in self._mine("removed")}
            self.orphans = find_orphans(self.store, found.known - gone)
            self.summary.orphans = len(self.orphans)
        # What was removed before, and lies there again without a record, counts as an orphan, too.
        return {**found.expired, **dict.fromkeys(self.orphans, -1)}

    def _spooled(self) -> bool:
        """Whether steps stored outputs that the database could not take note of yet: no orphans, though it looks so."""
        held = any(next(iter(self.store.keys(f"{folder}/")), None) is not None for folder in ("spool", "spool-refused"))
        if held:
            _LOG.warning("orphans are not looked for while the spool holds records: windsock db replay")
        return held

    def _look_at_marks(self, unneeded: dict[str, int], began: datetime) -> dict[str, int]:
        """What may be removed now. Takes from ``unneeded`` what has a tombstone, and the marks of what is needed."""
        ready: dict[str, int] = {}
        needed: list[str] = []
        for stone in self._mine("marked"):
            if unneeded.pop(stone.place, None) is None:
                if stone.reason != "orphan" or self.policy.orphans:
                    needed.append(stone.place)
            elif stone.since <= began - self.grace:
                ready[stone.place] = stone.size
            else:
                self.summary.waiting += 1
                self.summary.waiting_bytes += stone.size
        for stone in self._mine("removing"):
            unneeded.pop(stone.place, None)
        for stone in self._mine("removed"):
            if stone.place not in self.orphans:
                unneeded.pop(stone.place, None)
        self.summary.unmarked = len(needed)
        sizes = {uri: size if size >= 0 else size_of(self.store, self.orphans[uri]) for uri, size in unneeded.items()}
        unneeded.update(sizes)
        self.summary.marked, self.summary.marked_bytes = len(sizes), sum(sizes.values())
        if not self.summary.dry_run:
            self.stones.unmark(needed)
        return ready

    def _mark(self, unneeded: dict[str, int]) -> None:
        for reason in ("expired", "orphan"):
            blobs = {uri: size for uri, size in unneeded.items() if (uri in self.orphans) == (reason == "orphan")}
            self.stones.mark(blobs, reason)

    def _mine(self, state: Any) -> Iterator[Tombstone]:
        """Tombstones of this store's content: a database may serve several stores."""
        return (stone for stone in self.stones.of_state(state) if stone.place.startswith(f"{self.store.root}/"))

    def _abandoned(self, began: datetime) -> Iterator[Tombstone]:
        return (stone for stone in self._mine("removing") if stone.since <= began - LEASE)

    def _remove(self, claimed: list[Tombstone]) -> None:
        """Remove content that is ours to remove now, then say that it is gone."""
        deadline = time.monotonic() + LEASE.total_seconds() / 3
        reach("retention.claimed")
        for batch in _batches(sorted(claimed, key=lambda stone: stone.place), 25):
            if time.monotonic() > deadline:
                # A slow store: nobody may delete in the name of a claim that could be another's by now.
                self.stones.give_back([stone.place for stone in batch], self.owner)
                continue
            try:
                self._delete([stone.place for stone in batch])
            except ArtifactError:
                self.summary.failed += len(batch)  # whether the storage got the request is unknown: the lease decides
                continue
            reach("retention.deleted")
            self.stones.removed([stone.place for stone in batch], self.owner)
            size = sum(stone.size for stone in batch)
            self.summary.removed += len(batch)
            self.summary.removed_bytes += size
            self.progress("Removing", size)

    def _delete(self, uris: list[str]) -> None:
        plain: list[str] = []
        for uri in uris:
            if uri in self.orphans:
                plain += self.orphans[uri]
            elif uri.endswith(TREE):
                self.store.delete(uri)
            else:
                plain.append(self.store.key_of(uri))
        self.store.remove_all(plain)

    def _audit(self, actor: str, reason: str | None) -> None:
        done = self.summary
        if not (done.removed or done.marked or done.unmarked or done.leftovers):
            return
        after = {key: value for key, value in done.to_dict().items() if key not in {"dry_run", "store"}}
        self.metadata.audit.append(actor, "prune", "artifact_store", done.store[:250], None, after, reason)


def _batches(items: Iterable[Any], size: int = _BATCH) -> Iterator[list[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
