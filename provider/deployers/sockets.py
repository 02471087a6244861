"""Sockets between the processes of one deployment, and the one that the world talks to.

Standard library only: the supervisor, which lives as long as the deployment, imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from ..errors import DeploymentFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LONGEST = 100
"""Bytes of a Unix socket's path that every system takes (Linux 107, macOS 103)."""


def bind_public(host: str, port: int, *, shared: bool = True) -> socket.socket:
    """A bound TCP socket that does not listen yet: its port is taken, and connections are refused until a server
    listens on it. ``shared``: another socket of this user may be bound beside it, which heals a lost supervisor.

    The protocol is named, because asyncio turns Nagle's algorithm off only for sockets that say that they are TCP;
    with it on, an answer in two parts waits 40 ms for the client's acknowledgement.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def is_free(host: str, port: int) -> bool:
    """Whether nobody is bound to the port, sharing or not."""
    try:
        bind_public(host, port, shared=False).close()
    except OSError:
        return False
    return True


def bind_private(folder: Path, name: str) -> socket.socket:
    """A Unix socket in ``folder`` that only this user can connect to."""
    (folder / name).unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _address(folder, name) as address:
        sock.bind(address)
    (folder / name).chmod(0o600)
    return sock


def connect_private(folder: Path, name: str, timeout: float) -> socket.socket:
    """Raises ``OSError`` when nobody listens there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        with _address(folder, name) as address:
            sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def probe(folder: Path, name: str, path: str, timeout: float = 2.0) -> tuple[int, bytes] | None:
    """``GET path`` of the server behind a private socket: status and body; None when it does not answer."""
    connection = http.client.HTTPConnection("localhost", timeout=timeout)
    try:
        connection.sock = connect_private(folder, name, timeout)
        connection.request("GET", path, headers={"connection": "close"})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def ask(folder: Path, name: str, question: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Send one line of JSON to a private socket and read one back. Raises ``OSError``."""
    with connect_private(folder, name, timeout) as sock:
        sock.sendall(json.dumps(question).encode() + b"\n")
        with sock.makefile("rb") as file:
            line = file.readline()
    if not line:
        raise ConnectionError("the supervisor ended without an answer")
    answer: dict[str, Any] = json.loads(line)
    return answer


@contextlib.contextmanager
def _address(folder: Path, name: str) -> Iterator[str]:
    """A path of the socket that is short enough, also for a deep folder."""
    address = str(folder / name)
    if len(os.fsencode(address)) <= _LONGEST:
        yield address
    elif sys.platform == "linux":
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{descriptor}/{name}"
        finally:
            os.close(descriptor)
    else:
        raise DeploymentFailed(
            f"The path of the socket {address} is longer than this system allows.",
            hint="Use a shorter home: set WINDSOCK_HOME.",
        )
