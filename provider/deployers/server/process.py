"""The server process: an event loop with two front doors.

The private door (a Unix socket that only this user can open) is open from the start; through it the supervisor sees
whether the server lives and is ready. The public door is the listening socket that was handed in; it is opened when
the model is ready. To drain, the public door is closed and each open connection is told, with its next answer, that
it was the last one; nothing that a client sent is left unanswered.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from typing import TYPE_CHECKING, Any

from ...errors import WindsockError
from ...predictions.labels import LabelWriter
from ...predictions.writer import PredictionWriter
from .app import ModelServer
from .loading import build_store, load_predictor, spool_folder

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    import uvicorn

    from ...artifacts.store import ArtifactStore
    from .settings import Limits, Release

logger = logging.getLogger(__name__)

EXIT_NOT_LOADED = 3
"""Exit status of a server whose model could not be loaded."""


def run(
    release: Release,
    public: socket.socket,
    *,
    private: socket.socket | None = None,
    token: str | None = None,
    on_ready: Callable[[], None] | None = None,
    store: ArtifactStore | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status. Blocks.

    Behind a supervisor (with a ``private`` door) SIGTERM means that another server has taken over; SIGINT, and both
    signals without a supervisor, mean the end of the deployment.
    """
    from uvicorn import Config

    loop_factory: Any = Config(_nothing, loop="auto").get_loop_factory()
    process = ServerProcess(release, public, private=private, token=token, on_ready=on_ready, store=store)
    loop = loop_factory() if loop_factory is not None else asyncio.new_event_loop()
    try:
        return int(loop.run_until_complete(process.serve()))
    finally:
        loop.close()


class ServerProcess:
    """One run of one release."""

    def __init__(
        self,
        release: Release,
        public: socket.socket,
        *,
        private: socket.socket | None,
        token: str | None,
        on_ready: Callable[[], None] | None,
        store: ArtifactStore | None = None,
    ) -> None:
        self._release = release
        self._public_socket = public
        self._private_socket = private
        self._on_ready = on_ready
        self._store = store
        self._app = ModelServer(release.model, release.version, release.limits, token=token)
        self._hurry = False
        self._stop: asyncio.Event

    def _stop_now(self) -> None:
        self._hurry = True
        self._stop.set()

    async def serve(self) -> int:
        self._stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._stop_now)
        loop.add_signal_handler(signal.SIGTERM, self._stop.set if self._private_socket is not None else self._stop_now)
        tasks = []
        private = None
        if self._private_socket is not None:
            private = _door(self._app, self._release.limits)
            tasks.append(asyncio.create_task(private.serve([self._private_socket])))
        if not await self._load():
            self._public_socket.close()
            return await _end(EXIT_NOT_LOADED if self._app.problem else 0, private, tasks)
        public = _door(self._app, self._release.limits)
        tasks.append(asyncio.create_task(public.serve([self._public_socket])))
        while not public.started:
            await asyncio.sleep(0.005)
        logger.info("%s version %d is ready", self._release.model, self._release.version)
        if self._on_ready is not None:
            self._on_ready()
        await self._stop.wait()
        await self._drain(public)
        public.should_exit = True
        status = await _end(0, private, tasks)
        await asyncio.to_thread(self._app.close)
        logger.info("%s version %d has ended", self._release.model, self._release.version)
        return status

    async def _load(self) -> bool:
        """Load the model beside the event loop. False when that failed or the process is told to stop."""
        loading = asyncio.create_task(asyncio.to_thread(self._prepare))
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            return False
        stopping.cancel()
        try:
            serve = loading.result()
        except WindsockError as error:
            self._app.problem = str(error)
            logger.error("the model could not be loaded: %s", error)
            return False
        except Exception as error:
            self._app.problem = f"{type(error).__name__}: {error}"
            logger.exception("the model could not be loaded")
            return False
        serve()
        gc.collect()
        gc.freeze()
        return True

    def _prepare(self) -> Callable[[], None]:
        release = self._release
        store = self._store or build_store(release.store, release.home)
        predictor, validator = load_predictor(release, store)
        writer = labels = None
        if release.log is not None:
            labels = LabelWriter(store, release.model, spool_folder(release.home, release.deployment) / "labels")
            writer = PredictionWriter(
                store,
                predictor.schema,
                model=release.model,
                version=release.version,
                spool=spool_folder(release.home, release.deployment),
                settings=release.log,
            )
        example = release.example if isinstance(release.example, list) else None
        return lambda: self._app.serve_model(predictor, validator, writer=writer, labels=labels, example=example)

    async def _drain(self, public: uvicorn.Server) -> None:
        """Accept no new connection, and end each open one with its next answer.

        An idle connection is not cut: its client may be sending its next request at this very moment, and would see
        it fail. It gets ``drain_timeout`` seconds to send one; half a second when the whole deployment ends.
        """
        self._app.draining = True
        await _stop_accepting(public, self._public_socket)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._release.limits.drain_timeout
        hurried = loop.time() + 0.5
        while public.server_state.connections and loop.time() < (hurried if self._hurry else deadline):
            await asyncio.sleep(0.02)


async def _stop_accepting(public: uvicorn.Server, sock: socket.socket) -> None:
    """Close the listening socket without losing a connection that was accepted but has no transport yet.

    asyncio makes the transport in a later turn of the loop than the accept; closing the server in between would fail
    it. So the loop stops watching the socket first. uvloop does both in one turn, and refuses to be asked.
    """
    loop = asyncio.get_running_loop()
    with contextlib.suppress(RuntimeError, NotImplementedError, ValueError, OSError):
        if type(loop).__module__.startswith("asyncio"):
            loop.remove_reader(sock.fileno())
            for _ in range(5):
                await asyncio.sleep(0)
    for server in public.servers:
        server.close()
    sock.close()


async def _end(status: int, private: uvicorn.Server | None, tasks: list[asyncio.Task[None]]) -> int:
    if private is not None:
        private.should_exit = True
    await asyncio.gather(*tasks)
    return status


def _door(app: ModelServer, limits: Limits) -> uvicorn.Server:
    """A uvicorn server that leaves signals and logging to its process."""
    import uvicorn

    class Door(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    config = uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=int(limits.keep_alive),
        timeout_graceful_shutdown=int(limits.request_timeout) + 1,
        backlog=2048,
    )
    return Door(config)


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that is never called; uvicorn's choice of event loop wants one."""
