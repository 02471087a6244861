"""HTTP for one server: connections that stay open, and patience while it is away.

Written on the standard library's client, which costs a call a quarter of what the usual ones do. What matters here:

- **Keep-alive**: a pool a process, the connection used last is used first. A forked child opens connections of its
  own; it never writes to one that it inherited.
- **No 40 ms stalls**: uvicorn with several workers on asyncio's own loop forgets TCP_NODELAY, and sends head and body
  of an answer one after the other; the second waits for an acknowledgement that the client's kernel delays. The
  client asks its kernel not to (TCP_QUICKACK), each time, whatever server that is.
- **Repeating is safe**: every call either finds what it did before or carries a key (``methods``), so whatever goes
  wrong with a connection, the call is made again, after pauses that grow and differ, until ``patience`` is over.
"""

from __future__ import annotations

import http.client
import os
import random
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...errors import MetadataUnavailable, SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONNECT_TIMEOUT = 5.0
IDLE = 45.0
"""Seconds after which an idle connection is not used again: servers close theirs, Airflow's after 120."""

_AGAIN = {429, 502, 504}
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class HttpClient:
    """Posts to one server. Thread-safe, and usable on both sides of a fork.

    ``patience``: seconds to go on trying while the server does not answer; ``timeout``: seconds that one answer may
    take.
    """

    def __init__(self, url: str, *, timeout: float = 60.0, patience: float = 10.0, ca_file: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingInvalid(
                f"{url!r} is no URL of an API server.",
                hint="Write [windsock] api_url as http://airflow.example.com:8080/windsock",
            )
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self._https = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/")
        self._timeout = timeout
        self._patience = patience
        self._ca_file = ca_file
        self._pid = os.getpid()
        self._idle: deque[tuple[http.client.HTTPConnection, float]] = deque(maxlen=16)

    def post(
        self, path: str, body: bytes, headers: Callable[[], Mapping[str, str]], *, patience: float | None = None
    ) -> Answer:
        """Post ``body``. ``headers`` is asked before each attempt. Raises ``MetadataUnavailable``."""
        limit = time.monotonic() + (self._patience if patience is None else patience)
        pause = 0.05
        while True:
            try:
                answer = self._attempt(path, body, headers())
                if answer.status not in _AGAIN and not _away(answer):
                    return answer
                reason = f"it answered {answer.status}"
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise self._unavailable(f"its certificate is not valid: {error.verify_message}") from None
                reason = str(error) or type(error).__name__
            wait = pause * random.uniform(0.5, 1.5)  # noqa: S311 - spreads workers, no secret
            if time.monotonic() + wait >= limit:
                raise self._unavailable(reason)
            time.sleep(wait)
            pause = min(pause * 2, 2.0)

    def close(self) -> None:
        """Close this process's idle connections."""
        idle = self._connections()
        while idle:
            idle.pop()[0].close()

    def _attempt(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        connection, used = self._take()
        try:
            answer = self._exchange(connection, path, body, headers)
        except (ConnectionError, http.client.RemoteDisconnected, http.client.CannotSendRequest):
            connection.close()
            if not used:
                raise
            # It was closed while it lay idle: what every server does now and then, and no reason to wait.
            connection = self._connect()
            answer = self._exchange(connection, path, body, headers)
        except BaseException:
            connection.close()  # there may be half an answer in it
            raise
        if connection.sock is not None:
            self._connections().append((connection, time.monotonic()))
        return answer

    def _exchange(
        self, connection: http.client.HTTPConnection, path: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        try:
            connection.request("POST", self._path + path, body, dict(headers))
            sock = connection.sock
            _acknowledge_at_once(sock)
            response = connection.getresponse()
            _acknowledge_at_once(sock)  # the kernel forgets: now the body is what may wait
            return Answer(response.status, response.headers, response.read())
        except BaseException:
            connection.close()
            raise

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it was used before."""
        idle = self._connections()
        while True:
            try:
                connection, since = idle.pop()
            except IndexError:
                return self._connect(), False
            if time.monotonic() - since < IDLE:
                return connection, True
            connection.close()

    def _connections(self) -> deque[tuple[http.client.HTTPConnection, float]]:
        if self._pid != os.getpid():
            self._idle, self._pid = deque(maxlen=16), os.getpid()
        return self._idle

    def _connect(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._https:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=CONNECT_TIMEOUT, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_TIMEOUT)
        connection.connect()
        connection.sock.settimeout(self._timeout)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._ca_file)

    def _unavailable(self, reason: str) -> MetadataUnavailable:
        return MetadataUnavailable(
            f"Airflow's API server at {self.url} does not answer: {reason}.",
            hint="Check that it runs and that [windsock] api_url names it, as this machine reaches it: windsock doctor",
            url=self.url,
        )


def _acknowledge_at_once(sock: socket.socket | None) -> None:
    if _QUICKACK is not None and sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


def _away(answer: Answer) -> bool:
    """A proxy without a server behind it, and not Windsock itself, which says why it cannot answer."""
    return answer.status == 503 and not answer.body.startswith(b'{"error"')
