"""A proxy that cuts connections where it hurts: after the server has done what it was asked, before it can say so."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class CutProxy:
    """Passes HTTP on to a port of 127.0.0.1.

    ``cuts``: how many of the next answers get lost; ``closes``: whether each connection is closed after its first
    answer, without a word. ``requests`` and ``connections`` count, ``keys`` are the calls' keys in their order.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cuts = 0
        self.closes = False
        self.requests: list[bytes] = []
        self.keys: list[str | None] = []
        self.connections = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # A thread that waits in accept() goes on holding the port: it is woken up.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/windsock"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server, suppress(OSError):
            while request := _message(client):
                self.requests.append(request)
                self.keys.append(_header(request, b"windsock-key"))
                server.sendall(request)
                answer = _message(server)
                if self.cuts:
                    self.cuts -= 1
                    # A reset, not an orderly end: this is what a killed server or a dropped route looks like.
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                client.sendall(answer)
                if self.closes:
                    return


def _message(sock: socket.socket) -> bytes:
    """One whole HTTP message; empty at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            return b""
        data += part
    size = data.index(b"\r\n\r\n") + 4 + int(_header(data, b"content-length") or 0)
    while len(data) < size:
        data += sock.recv(1 << 20)
    return data


def _header(message: bytes, name: bytes) -> str | None:
    for line in message.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().decode()
    return None
