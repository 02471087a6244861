"""How a task proves to the API server that it is that task, without a secret of anybody's.

Airflow gives a task no token: its execution token stays with its supervisor, which speaks to Airflow for it. What the
task can do through the supervisor, and nobody else can do for it, is write into its own task state store. So it:

1. makes up a random claim, and writes the claim's SHA-256 there (a digest proves nothing to who reads it);
2. sends the claim itself to Windsock's plugin in the API server, which finds the digest in the store of that task
   instance, sees that it is running, removes the digest, and answers with a token of ten minutes.

Tokens live in this process's memory only. They are renewed in time with the one before, or else claimed anew; either
works only as long as Airflow says that the task runs. What touches Airflow's internals is in this file and in
``plugins/api/tokens.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ..provider.errors import TokenInvalid
from ..provider.metadata.rest.codec import decode_error
from ..provider.metadata.rest.http import HttpClient
from ..provider.security.tokens import VARIABLE, EnvironmentToken

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

CLAIM = "windsock.claim."
"""How the key of a claim's digest begins in the task state store."""


def claim_digest(claim: str) -> str:
    return hashlib.sha256(claim.encode()).hexdigest()


def claim_key(digest: str) -> str:
    """A key of its own for each claim: two attempts of a task instance do not overwrite each other's."""
    return CLAIM + digest[:16]


@dataclass(frozen=True)
class _Held:
    token: str = field(repr=False)
    renew_at: float
    expires_at: float


class TaskTokens:
    """The tokens of the running task; those of ``WINDSOCK_API_TOKEN`` where it is set.

    Thread-safe. A process that the task forks goes on with the token that it inherits, and renews it; it cannot claim
    one, because the supervisor speaks to the task's first process only.
    """

    def __init__(self, url: str, ca_file: str | None = None) -> None:
        self._http = HttpClient(url, ca_file=ca_file, timeout=30)
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._owner: int | None = None
        self._held: _Held | None = None

    def __repr__(self) -> str:
        return f"<TaskTokens for {self._http.url}>"

    def token(self, *, renew: bool = False) -> str:
        """Raises ``TokenInvalid``, ``NotPermitted``, ``MetadataUnavailable``."""
        if os.environ.get(VARIABLE):
            return EnvironmentToken().token(renew=renew)
        if self._pid != os.getpid():  # a lock that another thread held while forking stays locked in the child
            self._lock, self._pid = threading.Lock(), os.getpid()
        with self._lock:
            held, now = self._held, time.monotonic()
            if held is None or renew or now >= held.expires_at:
                self._held = self._claim()
            elif now >= held.renew_at:
                self._held = self._renewed(held) or self._claim()
            assert self._held is not None
            return self._held.token

    def _renewed(self, held: _Held) -> _Held | None:
        answer = self._http.post("/api/token/renew", b"{}", lambda: {"Authorization": f"Bearer {held.token}"})
        return _held(answer.body) if answer.status == 200 else None

    def _claim(self) -> _Held:
        comms, task_instance = _supervisor()
        if self._owner not in (None, os.getpid()):
            raise TokenInvalid(
                "The token of this task has expired, and a process that the task has forked cannot ask for a new one.",
                hint="Ask the metadata in the task's own process, or within ten minutes after the fork.",
            )
        self._owner = os.getpid()
        claim = secrets.token_urlsafe(32)
        digest = claim_digest(claim)
        _write(comms, task_instance, claim_key(digest), digest)
        body = json.dumps({"task_instance": str(task_instance), "claim": claim}).encode()
        answer = self._http.post("/api/token", body, lambda: {"Content-Type": "application/json"})
        if answer.status == 200:
            return _held(answer.body)
        raise _refused(self._http.url, answer.status, answer.body)


def _held(body: bytes) -> _Held:
    given = json.loads(body)
    seconds, now = float(given["expires_in"]), time.monotonic()
    return _Held(given["token"], now + seconds / 2, now + seconds - 30)


def _refused(url: str, status: int, body: bytes) -> Exception:
    try:
        found: Any = json.loads(body)
    except ValueError:
        found = None
    error = decode_error(found)
    if error is not None:
        return error
    return TokenInvalid(
        f"{url} gives this task no token: it answered {status}.",
        hint="Install the same airflow-provider-windsock in the API server as here, and check [windsock] api_url.",
    )


def _supervisor() -> tuple[Any, UUID]:
    """The way to the supervisor and the id of the task instance. Raises ``TokenInvalid`` outside a running task."""
    from airflow.sdk import get_current_context
    from airflow.sdk.execution_time import task_runner

    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    try:
        context: Mapping[str, Any] = get_current_context()
        return comms, context["ti"].id
    except (RuntimeError, KeyError, AttributeError):
        raise TokenInvalid(
            "[windsock] metadata_transport is rest, and this process is no running task, so it has no token.",
            hint=f"Set {VARIABLE} to a token of Airflow's, or WINDSOCK_METADATA_TRANSPORT=sql where the database can "
            "be reached.",
        ) from None


def _write(comms: Any, task_instance: UUID, key: str, digest: str) -> None:
    """Into the store on the server: a worker's own state backend, which the public accessor would use, is elsewhere."""
    from airflow.sdk.execution_time.comms import ErrorResponse, SetTaskStateStore

    expires = datetime.now(timezone.utc) + timedelta(minutes=10)
    answer = comms.send(SetTaskStateStore(ti_id=task_instance, key=key, value=digest, expires_at=expires))
    if isinstance(answer, ErrorResponse):
        raise TokenInvalid(
            f"Airflow does not take this task's claim to be itself: {answer.error}.",
            hint="The task may have been ended, or replaced by a retry: see its log.",
        )
