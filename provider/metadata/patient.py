"""A connection to PostgreSQL that does not wait for ever.

A server that is gone closes its connections, or the kernel notices (keepalives, see ``engine.py``). One that is frozen,
with a hung disk or behind a silent firewall, does neither: the client would wait as long as the process lives. Here a
statement without a word from the server for :data:`ANSWER_TIMEOUT` seconds closes the connection, which is an outage
like any other: waited for, tried again, spooled.

It is not a limit of how long a statement may take as such: psycopg's own seam, with which it waits for the socket, is
told to stop. Changes of the schema are exempt (:func:`unhurried`).
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from sqlalchemy import Connection

ANSWER_TIMEOUT = 60.0
"""Seconds without an answer after which a server counts as gone."""


class NoAnswer(psycopg.OperationalError):
    """The server is silent."""


class PatientConnection(psycopg.Connection[Any]):
    """psycopg's connection, with a limit to how long it waits for an answer."""

    unhurried = False

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        return super().wait(gen if self.unhurried else self._watched(gen), *args, **options)

    def _watched(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """``gen``, watched: psycopg asks it ten times a second whether there is anything to do while nothing comes."""
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard = time.monotonic()
                elif time.monotonic() - heard > ANSWER_TIMEOUT:
                    self.pgconn.finish()
                    raise NoAnswer(f"the server has not answered for {ANSWER_TIMEOUT:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> PatientConnection:
    """SQLAlchemy's ``do_connect``."""
    return PatientConnection.connect(*arguments, **options)


@contextmanager
def unhurried(connection: Connection) -> Iterator[None]:
    """Wait as long as it takes, in here."""
    raw: Any = connection.connection.dbapi_connection
    raw.unhurried = True
    try:
        yield
    finally:
        raw.unhurried = False
