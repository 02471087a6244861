"""Debian's Prometheus, Alertmanager and Pushgateway for tests, each on a free port of 127.0.0.1."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

from servers import free_port, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def program(name: str) -> str:
    """Where it is; skips, or fails in CI, without it."""
    found = shutil.which(name)
    if found is None:
        missing(name)
    return str(found)


@contextmanager
def running(name: str, *options: str, port: int, healthy: str = "/-/ready", log: Path) -> Iterator[str]:
    """The URL of the server once it answers."""
    url = f"http://127.0.0.1:{port}"
    with log.open("w") as output, subprocess.Popen([program(name), *options], stdout=output, stderr=output) as process:
        try:
            wait_for(lambda: answers(url + healthy), 30, f"{name} to start")
            yield url
        finally:
            process.terminate()
            process.wait(20)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return json.load(reply)


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s for {what}")


@contextmanager
def pushgateway(folder: Path) -> Iterator[str]:
    port = free_port()
    options = (f"--web.listen-address=127.0.0.1:{port}",)
    with running("prometheus-pushgateway", *options, port=port, log=folder / "pushgateway.log") as url:
        yield url


@contextmanager
def alertmanager(folder: Path, config: Path) -> Iterator[str]:
    port = free_port()
    options = (
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",  # or it looks for others
    )
    with running("prometheus-alertmanager", *options, port=port, log=folder / "alertmanager.log") as url:
        yield url


@contextmanager
def prometheus(folder: Path, config: Path) -> Iterator[str]:
    port = free_port()
    options = (
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with running("prometheus", *options, port=port, log=folder / "prometheus.log") as url:
        yield url


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """URL of a receiver, and what it has received."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/alerts", received
    finally:
        server.shutdown()
        server.server_close()
