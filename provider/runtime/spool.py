"""The spool: records that the metadata database could not take, kept in the artifact store until it can.

A step's outputs are in the artifact store already; what is missing is the record of it. When the database has been
away for longer than the recorder's patience, that record becomes one immutable object beside the artifacts, and the
step goes on. Replaying writes the objects to the database and removes each after its transaction is committed.

- **In order.** The objects of a run are numbered: the time in milliseconds, but always more than every number of the
  run that is still there. A step that reads what another step made is numbered after it, whatever their clocks say.
- **Once.** Everything that is replayed is idempotent (a step run is keyed by task and attempt), so a replayer that is
  killed, or two at the same time, change nothing.
- **Whole.** An object appears complete or not at all, and its name holds its digest.

What cannot be recorded yet, because it reads an artifact that nobody recorded, waits. What is damaged or refused is set
aside under ``spool-refused/``. It is the records that are kept here, not credentials; a record says no more than the
database would.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

from ..errors import (
    ArtifactError,
    ArtifactNotFound,
    Conflict,
    MetadataUnavailable,
    NotPermitted,
    SchemaOutdated,
    StoreUnavailable,
    WindsockError,
)
from ..faults import reach
from .redaction import error_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

    from ..artifacts.store import ArtifactStore
    from ..metadata.store import Metadata
    from ..stack import Stack

FOLDER = "spool"
REFUSED = "spool-refused"
_FORMAT = 1
_PAUSE = 30.0
"""Seconds before a process tries again what waits for something else."""
_LOG = logging.getLogger(__name__)
_spools: WeakKeyDictionary[Stack, Spool] = WeakKeyDictionary()
Kind = Literal["start", "finish", "end"]


class Entry(NamedTuple):
    """What the name of an object says. ``digest``: of its content, the first 32 of its 64 digits."""

    number: int
    key: str
    kind: str
    digest: str


@dataclass
class Replayed:
    """What became of the entries. ``waiting`` and ``refused``: (key, why)."""

    recorded: int = 0
    waiting: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


class Spool:
    """The spool of one stack. Any number of processes may append and replay at the same time."""

    def __init__(self, store: ArtifactStore, stack: str) -> None:
        self._store = store
        self._folder = f"{FOLDER}/{stack}"
        self._quiet_until = 0.0
        self.away = False
        """The database was away when it was last asked: whoever asks next does not wait for it again."""

    @classmethod
    def of(cls, stack: Stack) -> Spool | None:
        """The stack's spool, one a process; None if ``[windsock] spool`` is off."""
        if not stack.settings.spool:
            return None
        found = _spools.get(stack)
        return found if found is not None else _spools.setdefault(stack, cls(stack.artifact_store, stack.name))

    # ------------------------------------------------------------------ writing

    def append(
        self, kind: Kind, run: str, record: BaseModel | dict[str, Any], pipeline: dict[str, Any] | None = None
    ) -> str:
        """Keep a record; returns the object's URI. Raises ``StoreUnavailable``.

        ``run`` is the key of the run; ``pipeline`` the version that the run belongs to, if it is not registered yet.
        """
        from ..artifacts.digests import digest_bytes, hex_of

        body = json.dumps(record) if isinstance(record, dict) else record.model_dump_json()
        about = json.dumps(pipeline)
        data = f'{{"format":{_FORMAT},"kind":"{kind}","pipeline":{about},"record":{body}}}'.encode()
        number = max([int(time.time() * 1000), *(entry.number + 1 for entry in self._entries(f"/{run}-"))])
        key = f"{self._folder}/{run}-{number:015d}-{kind}-{hex_of(digest_bytes(data))[:32]}.json"
        reach("runtime.spool.before_append")
        try:
            uri = self._store.put_bytes(key, data)
        except FileExistsError:  # the same record in the same millisecond
            uri = self._store.uri_of(key)
        reach("runtime.spool.appended")
        return uri

    def append_end(self, dag_id: str, run_id: str, state: str, at: datetime) -> str:
        """Keep the end of a run."""
        from ..metadata.keys import run_key

        record = {"dag_id": dag_id, "run_id": run_id, "state": state, "at": at.isoformat()}
        return self.append("end", run_key(dag_id, run_id), record)

    # ------------------------------------------------------------------ replaying

    def pending(self) -> list[Entry]:
        """All entries, in the order in which they are to be recorded. Raises ``StoreUnavailable``."""
        return self._entries("/")

    def at_hand(self) -> bool:
        """Whether there may be something to replay, as far as can be told without asking an object store.

        What could not be recorded a moment ago is not tried again at every step.
        """
        if self.away:
            return True
        if time.monotonic() < self._quiet_until:
            return False
        where = self._store.local_path(self._folder)
        return where is not None and os.path.isdir(where)  # noqa: PTH112 - at each step's start and end: half the time

    def replay(self, metadata: Metadata) -> Replayed:
        """Record everything that can be recorded, in order. Raises ``MetadataUnavailable``, ``StoreUnavailable``.

        What waits for another entry is tried again after it, until nothing more moves.
        """
        done = Replayed()
        while entries := self.pending():
            before, done.waiting = done.recorded, []
            for entry in entries:
                self._replay(entry, metadata, done)
            if done.recorded == before or not done.waiting:
                break
        self.away = False
        if done.waiting:
            self._quiet_until = time.monotonic() + _PAUSE
        return done

    def _replay(self, entry: Entry, metadata: Metadata, done: Replayed) -> None:
        try:
            data = self._store.get_bytes(self._store.uri_of(entry.key))
        except ArtifactNotFound:
            return  # another replayer was here
        try:
            content = _checked(entry, data)
            reach("runtime.spool.before_record")
            _record(content, metadata)
            reach("runtime.spool.recorded")
        except (MetadataUnavailable, SchemaOutdated, StoreUnavailable):
            raise
        except (ArtifactNotFound, Conflict, NotPermitted) as error:
            # NotPermitted: over REST a task writes its own run only; the scheduler writes the others.
            done.waiting.append((entry.key, error_line(error)))
            return
        except (WindsockError, ValueError, KeyError, TypeError) as error:
            self._refuse(entry, data, error, done)
        else:
            done.recorded += 1
        self._store.remove(entry.key)
        reach("runtime.spool.removed")

    def _refuse(self, entry: Entry, data: bytes, error: Exception, done: Replayed) -> None:
        aside = REFUSED + entry.key.removeprefix(FOLDER)
        self._store.put_bytes(aside, data, overwrite=True)
        done.refused.append((aside, error_line(error)))
        _LOG.error("a record of the spool is refused and kept as %s: %s", self._store.uri_of(aside), error_line(error))

    def _entries(self, below: str) -> list[Entry]:
        found = []
        for key in self._store.keys(self._folder + below):
            parts = key.rpartition("/")[2].removesuffix(".json").split("-")
            if len(parts) == 4 and parts[1].isdigit():
                found.append(Entry(int(parts[1]), key, parts[2], parts[3]))
        return sorted(found)


def _checked(entry: Entry, data: bytes) -> dict[str, Any]:
    from ..artifacts.digests import digest_bytes, hex_of

    if not hex_of(digest_bytes(data)).startswith(entry.digest):
        raise ArtifactError(f"The content of {entry.key} is not what was spooled: its digest is another.")
    content: dict[str, Any] = json.loads(data)
    if content["format"] != _FORMAT:
        raise ArtifactError(f"{entry.key} has format {content['format']}; this Windsock reads {_FORMAT}.")
    return content


def _record(content: dict[str, Any], metadata: Metadata) -> None:
    from ..metadata.runs import StepFinish, StepStart

    record = content["record"]
    if content["kind"] == "end":
        at = datetime.fromisoformat(record["at"])
        metadata.runs.end(record["dag_id"], record["run_id"], record["state"], ended_at=at)
        return
    number = _number(content["pipeline"], metadata)
    if content["kind"] == "start":
        start = StepStart.model_validate(record)
        metadata.runs.start_step(start if number is None else start.model_copy(update={"pipeline_version": number}))
        return
    finish = StepFinish.model_validate(record)
    if number is not None:
        finish = finish.model_copy(update={"start": finish.start.model_copy(update={"pipeline_version": number})})
    metadata.runs.finish_step(finish)


def _number(pipeline: dict[str, Any] | None, metadata: Metadata) -> int | None:
    """Register the version of the pipeline that an entry brings along."""
    return None if pipeline is None else metadata.pipelines.register(**pipeline).number


class _Described(Exception):
    """Ends a registration once what it would register is known."""


class _Describing:
    """Takes the place of metadata and its pipelines for a function that registers a pipeline: keeps what it is told."""

    url = ""

    def __init__(self) -> None:
        self.pipelines = self
        self.facts: dict[str, Any] | None = None

    def number(self, name: str, digest: str) -> None:
        return None

    def register(self, name: str, **facts: Any) -> None:
        self.facts = {"name": name, **facts}
        raise _Described


def described(register: Callable[[Any], int | None] | None) -> dict[str, Any] | None:
    """What ``register`` would register, without a database."""
    desk = _Describing()
    try:
        if register is not None:
            register(desk)
    except _Described:
        pass
    return desk.facts
