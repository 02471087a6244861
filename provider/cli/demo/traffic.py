"""Clients of the deployed model: they ask all the time, through every roll-over, and count what fails."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Tally:
    """What the clients saw. ``versions`` counts answers by model version; ``last`` is the newest answer of each."""

    answered: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)


class Traffic:
    """A thread that sends rows to ``POST /predict`` over one keep-alive connection.

    ``rows(n)`` gives the next ``n`` rows as dictionaries; replace it at any time with :meth:`use`.
    """

    def __init__(
        self, url: str, rows: Callable[[int], list[dict[str, Any]]], *, per_second: float = 20, batch: int = 10
    ):
        self.tally = Tally()
        self._address = urlsplit(url)
        self._rows = rows
        self._pause = 1 / per_second
        self._batch = batch
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def start(self) -> Traffic:
        self._thread.start()
        return self

    def use(self, rows: Callable[[int], list[dict[str, Any]]]) -> None:
        self._rows = rows

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        connection = self._connect()
        while not self._stop.wait(self._pause):
            body = json.dumps({"instances": self._rows(self._batch)})
            started = time.perf_counter()
            try:
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                answer = json.loads(response.read())
                if response.status != 200:
                    raise ValueError(f"HTTP {response.status}: {answer}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.tally.failed += 1
                self.tally.errors.append(f"{type(error).__name__}: {error}")
                connection.close()
                connection = self._connect()
                continue
            self.tally.answered += 1
            self.tally.seconds.append(time.perf_counter() - started)
            version = str(answer["model_version"])
            self.tally.versions[version] += 1
            self.tally.last[version] = answer
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._address.hostname or "127.0.0.1", self._address.port, timeout=30)
