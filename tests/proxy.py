"""A TCP proxy that breaks things on purpose: between a client and a real server, on 127.0.0.1.

What it does to the bytes is a rule, asked for each piece that passes: let it through, hold it, cut the connection, or
answer it in the server's place.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

Rule = Callable[["Piece"], "bytes | None"]
"""Returns the bytes to send on; None cuts the connection. May sleep. May answer by ``piece.answer``."""


@dataclass
class Piece:
    """Some bytes on their way. ``upwards``: from the client to the server. ``number``: of the connection, from 1."""

    data: bytes
    upwards: bool
    number: int
    answer: Callable[[bytes], None]
    """Send to the client as if the server had said it."""


def through(piece: Piece) -> bytes | None:
    return piece.data


class Proxy:
    """Listens on ``port`` from ``with`` on. Set ``rule`` at any time; ``refuse`` shuts it, ``accept`` opens it."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.rule: Rule = through
        self.connections = 0
        self.port = 0

    def __enter__(self) -> Proxy:
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def accept(self) -> None:
        """Open the door, on the same port as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """Close the door, and every connection: what a server that is gone looks like."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()

    def cut(self) -> None:
        """Cut every connection that is open."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _close(*pair)

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, timeout=5)
                server.settimeout(None)
            except OSError:
                _close(client)
                continue
            with self._lock:
                self.connections += 1
                number = self.connections
                self._pairs.append((client, server))
            for source, sink, upwards in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, sink, client, upwards, number), daemon=True).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, client: socket.socket, upwards: bool, number: int
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                passed = self.rule(Piece(data, upwards, number, client.sendall))
                if passed is None:
                    break
                sink.sendall(passed)
        _close(source, sink)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


# ---------------------------------------------------------------------- rules


def cut_at(pattern: bytes, *, upwards: bool = True, times: int = 1, pass_on: bool = False) -> Rule:
    """Cut the connection when ``pattern`` passes; ``pass_on``: only after the other side has got it."""
    left = [times]
    doomed: set[int] = set()

    def rule(piece: Piece) -> bytes | None:
        if piece.number in doomed and not piece.upwards:
            return None  # the server has got it and answers: the client never hears of it
        if left[0] and piece.upwards == upwards and pattern in piece.data:
            left[0] -= 1
            if not pass_on:
                return None
            doomed.add(piece.number)
        return piece.data

    return rule


def cut_after(size: int, *, upwards: bool, times: int = 1) -> Rule:
    """Cut each of the next ``times`` connections that carry more than ``size`` bytes in that direction."""
    seen: dict[int, int] = {}
    left = [times]

    def rule(piece: Piece) -> bytes | None:
        if piece.upwards == upwards:
            seen[piece.number] = seen.get(piece.number, 0) + len(piece.data)
            if left[0] and seen[piece.number] > size:
                left[0] -= 1
                return None
        return piece.data

    return rule


class Stall:
    """Hold everything, as a server that is frozen does, until ``over`` is set. ``pattern``: from there on."""

    def __init__(self, pattern: bytes = b"", seconds: float = 120) -> None:
        self.over = threading.Event()
        self._pattern = pattern
        self._seconds = seconds
        self.held = threading.Event()

    def __call__(self, piece: Piece) -> bytes | None:
        if self.held.is_set() or (piece.upwards and self._pattern in piece.data):
            self.held.set()
            self.over.wait(self._seconds)
        return piece.data


def slow(seconds: float) -> Rule:
    def rule(piece: Piece) -> bytes | None:
        time.sleep(seconds)
        return piece.data

    return rule


_METHODS = (b"PUT ", b"GET ", b"HEAD ", b"POST ", b"DELETE ")


def answering(status: int, reason: str, *, times: int, only: tuple[bytes, ...] = _METHODS) -> Rule:
    """Answer the next ``times`` HTTP requests (of these methods) with an error of S3's kind, and close."""
    left = [times]
    body = f"<Error><Code>{reason.replace(' ', '')}</Code><Message>{reason}</Message></Error>"
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    text = f"{head}Connection: close\r\n\r\n{body}".encode()

    def rule(piece: Piece) -> bytes | None:
        if left[0] and piece.upwards and piece.data.startswith(only):
            left[0] -= 1
            piece.answer(text.partition(b"<")[0] if piece.data.startswith(b"HEAD ") else text)
            return None
        return piece.data

    return rule
