"""``python -m windsock.provider.deployers.supervisor FOLDER``: the process that keeps one deployment alive.

It owns the listening socket and starts a server on it; starts it again when it dies or hangs; and rolls over to a new
version by starting its server beside the old one on the same socket, waiting until it is ready, and only then telling
the old one to drain. The socket is never closed in between, so no connection is refused and none is lost.

It detaches from whoever started it. When it is killed itself, its server goes on serving; the next ``deploy`` starts
a new supervisor, which takes over the port. Orders come through a Unix socket as one line of JSON each. Secrets come
with an order, live in memory, and are handed to servers in their environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from . import sockets, state
from .processes import Process, identify

if TYPE_CHECKING:
    import socket

logger = logging.getLogger("supervisor")

FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 30.0
HUNG = 60.0
"""Seconds without a sign of life after which a server is killed."""
PROBE_EVERY = 5.0
KEPT_LOGS = 5


class StartFailed(Exception):
    """A server did not become ready; the text says why."""


class Worker:
    """One server process and the release it serves."""

    def __init__(self, generation: int, process: asyncio.subprocess.Process, release: dict[str, Any]) -> None:
        self.generation = generation
        self.process = process
        self.release = release
        self.identity = identify(process.pid) or Process(process.pid, "")
        self.ready_since: float | None = None

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class Supervisor:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = asyncio.Lock()
        self._stopped = asyncio.Event()
        self._socket: socket.socket | None = None
        self._address: tuple[str, int] | None = None
        self._environment: dict[str, str] = {}
        self._current: Worker | None = None
        self._draining: set[Worker] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._restarts = 0
        self._problem: str | None = None
        self._failed = False
        self._start_timeout = 120.0
        earlier = state.read(folder) or {}
        self._generation = int(earlier.get("generation", 0))
        self._earlier_port: int | None = earlier.get("port")
        self._orphans = [Process.from_dict(item) for item in earlier.get("workers", [])]

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        control = await asyncio.start_unix_server(
            self._serve_order, sock=sockets.bind_private(self.folder, state.CONTROL), limit=2**26
        )
        self._save()
        self._background(self._watch_for_hangs())
        await self._stopped.wait()
        control.close()
        await self._stop_workers()
        (self.folder / state.CONTROL).unlink(missing_ok=True)
        self._save()
        logger.info("ended")

    # ------------------------------------------------------------------ orders

    async def _serve_order(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            order = json.loads(await reader.readline())
            try:
                answer = await self._obey(order)
            except StartFailed as failure:
                answer = {"failed": str(failure), **self.describe()}
            except Exception as error:
                logger.exception("order %s failed", order.get("order"))
                answer = {"failed": f"{type(error).__name__}: {error}", **self.describe()}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError) as error:
            logger.warning("an order could not be read or answered: %s", error)
        finally:
            writer.close()

    async def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["order"] == "deploy":
            return await self.deploy(order)
        if order["order"] == "stop":
            self._stopped.set()
        return self.describe()

    def describe(self) -> dict[str, Any]:
        worker = self._current
        ready = worker is not None and worker.alive and worker.ready_since is not None
        release = worker.release if worker is not None else {}
        running = [item for item in (worker, *self._draining) if item is not None and item.alive]
        return {
            "name": self.folder.name,
            "phase": "ready" if ready else "failed" if self._failed else "starting",
            "problem": self._problem,
            "model": release.get("model"),
            "version": release.get("version"),
            "host": self._address[0] if self._address else None,
            "port": self._address[1] if self._address else self._earlier_port,
            "generation": self._generation,
            "restarts": self._restarts,
            "supervisor": (identify(os.getpid()) or Process(os.getpid(), "")).to_dict(),
            "workers": [item.identity.to_dict() for item in running] + [p.to_dict() for p in self._orphans],
            "serving": worker.generation if worker is not None else None,
        }

    def _save(self) -> None:
        state.write(self.folder, self.describe() | {"updated_at": time.time()})

    # ------------------------------------------------------------------ deploying

    async def deploy(self, order: dict[str, Any]) -> dict[str, Any]:
        """Serve a release on ``host:port``. Raises ``StartFailed``; then the release before it still serves."""
        async with self._lock:
            release, environment = order["release"], order["environment"]
            address = (order["host"], order["port"])
            same = self._current is not None and self._current.alive and self._current.ready_since is not None
            if (
                same
                and self._current is not None
                and self._current.release == release
                and self._environment == environment
                and self._fits(*address)
            ):
                return self.describe()
            self._start_timeout = order["start_timeout"]
            bound = None if self._fits(*address) else await self._bind(*address)
            before = self._environment
            self._environment = environment
            try:
                worker = await self._start(release, bound or self._own_socket())
            except BaseException as error:
                self._environment = before
                if bound is not None:
                    bound.close()
                if self._current is None:
                    self._problem, self._failed = str(error), True
                raise
            if bound is not None:
                self._adopt(bound)
            self._serve_with(worker)
            self._retire_orphans()
            return self.describe()

    def _fits(self, host: str, port: int | None) -> bool:
        """Whether the socket that is open is the one that is asked for; no port means: the one there is."""
        return self._address is not None and self._address[0] == host and port in (None, self._address[1])

    async def _bind(self, host: str, port: int | None) -> socket.socket:
        """The asked port; or the port this deployment had before; or a free one."""
        self._orphans = [process for process in self._orphans if process.alive()]
        for candidate in (port,) if port is not None else (self._earlier_port, 0):
            if candidate is None:
                continue
            try:
                if candidate == 0 or self._orphans or await _becomes_free(host, candidate):
                    return sockets.bind_public(host, candidate)
            except OSError as error:
                logger.warning("cannot listen on %s port %d: %s", host, candidate, error)
            else:
                logger.warning("port %d is taken by another process", candidate)
        raise StartFailed(f"Port {port} of {host} cannot be had: another process listens on it, or it is not allowed.")

    def _own_socket(self) -> socket.socket:
        assert self._socket is not None
        return self._socket

    def _adopt(self, bound: socket.socket) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = bound
        name = bound.getsockname()
        self._address = (name[0], name[1])

    async def _start(self, release: dict[str, Any], bound: socket.socket) -> Worker:
        """A server that is ready. Raises ``StartFailed`` when it ends or is not ready in time."""
        self._generation += 1
        generation = self._generation
        state.write(self.folder, release, f"release-{generation}.json")
        log = self.folder / f"worker-{generation}.log"
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            process = await self._spawn(generation, bound.fileno(), file)
        worker = Worker(generation, process, release)
        try:
            await self._wait_until_ready(worker)
        except StartFailed as failure:
            worker.signal(signal.SIGKILL)
            await process.wait()
            self._tidy(generation)
            what = f"{release['model']} version {release['version']}"
            raise StartFailed(f"{what} {failure}\n{state.tail(log)}".rstrip()) from None
        except BaseException:
            worker.signal(signal.SIGKILL)
            raise
        logger.info("generation %d serves %s version %s", generation, release["model"], release["version"])
        return worker

    async def _spawn(self, generation: int, descriptor: int, log: IO[bytes]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "windsock.provider.deployers.server.worker",
            str(self.folder),
            str(generation),
            str(descriptor),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(descriptor,),
            env={**os.environ, **self._environment},
        )

    async def _wait_until_ready(self, worker: Worker) -> None:
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            if not worker.alive:
                raise StartFailed(f"ended with status {worker.process.returncode} before it was ready:")
            if await self._status(worker, "/v2/health/ready") == 200:
                worker.ready_since = time.monotonic()
                return
            await asyncio.sleep(0.03)
        raise StartFailed(f"was not ready within {self._start_timeout:g} seconds:")

    async def _status(self, worker: Worker, path: str) -> int | None:
        name = f"worker-{worker.generation}.sock"
        answer = await asyncio.to_thread(sockets.probe, self.folder, name, path)
        return answer[0] if answer is not None else None

    def _serve_with(self, worker: Worker) -> None:
        old, self._current = self._current, worker
        self._problem, self._failed = None, False
        if old is not None and old.alive:
            self._draining.add(old)
            old.signal(signal.SIGTERM)
            self._background(self._see_off(old))
        self._background(self._keep(worker))
        self._save()

    async def _see_off(self, worker: Worker) -> None:
        """Wait until a draining server has ended; kill it when it does not."""
        limits = worker.release["limits"]
        patience = limits["drain_timeout"] + limits["request_timeout"] + 30.0
        await _end(worker, patience)
        self._draining.discard(worker)
        self._tidy(worker.generation)
        self._save()

    def _retire_orphans(self) -> None:
        """Servers of a supervisor that was killed: they served until now, and drain now."""
        for process in self._orphans:
            process.kill(signal.SIGTERM)
            self._background(self._bury(process))

    async def _bury(self, process: Process) -> None:
        if not await asyncio.to_thread(process.wait, 90.0):
            process.kill(signal.SIGKILL)
        self._orphans = [other for other in self._orphans if other != process]
        self._save()

    # ------------------------------------------------------------------ keeping alive

    async def _keep(self, worker: Worker) -> None:
        """Start the server again when it dies, ever more slowly while it keeps dying."""
        backoff = FIRST_BACKOFF
        status = await worker.process.wait()
        while self._current is worker and not self._stopped.is_set():
            logger.warning("generation %d died (status %s); restarting in %.1f s", worker.generation, status, backoff)
            self._problem = f"The server died (status {status}) and is being restarted."
            self._save()
            await asyncio.sleep(backoff)
            async with self._lock:
                if self._current is not worker or self._stopped.is_set():
                    return
                self._restarts += 1
                try:
                    fresh = await self._start(worker.release, self._own_socket())
                except StartFailed as failure:
                    self._problem, self._failed = str(failure), True
                else:
                    self._tidy(worker.generation)
                    self._serve_with(fresh)
                    return
            backoff = min(backoff * 2, LONGEST_BACKOFF)

    async def _watch_for_hangs(self) -> None:
        last, watched = time.monotonic(), None
        while True:
            await asyncio.sleep(PROBE_EVERY)
            worker = self._current
            if worker is None or not worker.alive or worker is not watched:
                last, watched = time.monotonic(), worker
            elif await self._status(worker, "/v2/health/live") == 200:
                last = time.monotonic()
            elif time.monotonic() - last > HUNG:
                logger.warning("generation %d gives no sign of life; killed", worker.generation)
                worker.signal(signal.SIGKILL)

    async def _stop_workers(self) -> None:
        workers = [w for w in (self._current, *self._draining) if w is not None and w.alive]
        for worker in workers:
            worker.signal(signal.SIGINT)
        for worker in workers:
            await _end(worker, worker.release["limits"]["request_timeout"] + 15.0)
        for process in self._orphans:
            process.kill(signal.SIGINT)
        for process in list(self._orphans):
            if not await asyncio.to_thread(process.wait, 30.0):
                process.kill(signal.SIGKILL)
        self._orphans = []

    def _tidy(self, generation: int) -> None:
        """Remove what an ended server left, but keep the logs of the last few."""
        (self.folder / f"worker-{generation}.sock").unlink(missing_ok=True)
        for old in range(generation - KEPT_LOGS, 0, -1):
            (self.folder / f"release-{old}.json").unlink(missing_ok=True)
            try:
                (self.folder / f"worker-{old}.log").unlink()
            except FileNotFoundError:
                return

    def _background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _becomes_free(host: str, port: int) -> bool:
    """Whether nobody has the port; a server that was just killed may hold it until its last thread has ended."""
    for _ in range(60):
        if sockets.is_free(host, port):
            return True
        await asyncio.sleep(0.05)
    return False


async def _end(worker: Worker, patience: float) -> None:
    """Wait until a server that was told to end has ended; kill it when it does not."""
    try:
        await asyncio.wait_for(worker.process.wait(), patience)
    except asyncio.TimeoutError:
        logger.warning("generation %d does not end; killed", worker.generation)
        worker.signal(signal.SIGKILL)
        await worker.process.wait()


def main(arguments: list[str]) -> int:
    """Detach, take the lock, and serve orders until told to stop."""
    folder = Path(arguments[0])
    if os.fork():
        os._exit(0)
    os.setsid()
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with (folder / state.LOCK).open("a") as lock:
        if not _take(lock):
            logger.info("another supervisor holds %s", folder)
            return 1
        asyncio.run(_supervise(folder))
    return 0


def _take(lock: IO[str]) -> bool:
    """Take the lock; somebody who only looks whether it is taken holds it for a moment."""
    for _ in range(40):
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.05)
    return False


async def _supervise(folder: Path) -> None:
    await Supervisor(folder).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
