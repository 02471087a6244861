"""The deployer ``local``: models served by processes of this machine, with nothing to install.

Every deployment has a supervisor of its own (:mod:`.supervisor`), detached from the task or the shell that deployed.
It listens on the loopback interface unless told otherwise, on a port that is chosen once and kept.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from ..component import CheckResult, ComponentConfig
from ..errors import DeploymentError, DeploymentFailed, DeploymentNotFound, did_you_mean
from ..names import check_name
from . import sockets, state
from .base import Deployer, DeployerConfig, DeploymentRequest, DeploymentState
from .processes import Process, is_locked, locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..artifacts.store import ArtifactStore
    from ..security.credentials import Connection
    from .server.settings import Release

logger = logging.getLogger(__name__)

LAUNCH_TIMEOUT = 30.0
STOP_TIMEOUT = 90.0
_KEPT_OUT = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "AIRFLOW_CTX_", "_AIRFLOW", "__AIRFLOW")
"""Beginnings of environment variables that a server has no business with: Airflow's settings and secrets."""


class LocalConfig(DeployerConfig):
    """Options of ``deployer: {flavor: local, …}``.

    ``token_connection``: an Airflow connection whose password clients must send as a bearer token. A host other than
    loopback needs one, or ``allow_anonymous``.
    """

    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=1, le=65535)
    token_connection: str | None = None
    allow_anonymous: bool = False
    allow_pickle: bool = False
    start_timeout: float = Field(default=120.0, gt=0)
    drain_timeout: float = Field(default=30.0, ge=0)
    request_timeout: float = Field(default=30.0, gt=0)
    max_body_bytes: int = Field(default=8 * 2**20, gt=0)
    max_rows: int = Field(default=10_000, gt=0)
    max_batch_rows: int = Field(default=1_024, gt=0)
    log_predictions: bool = True
    sample_rate: float = Field(default=1.0, ge=0, le=1)
    rotate_rows: int = Field(default=131_072, gt=0)
    rotate_seconds: float = Field(default=60.0, gt=0)
    omit: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _guarded(self) -> LocalConfig:
        if not (is_loopback(self.host) or self.token_connection or self.allow_anonymous):
            raise ValueError(
                f"host {self.host} is open to other machines; name a token_connection, or say allow_anonymous: true"
            )
        return self


class LocalDeployer(Deployer):
    """See the module. Processes of one home see the same deployments, whoever started them."""

    flavor: ClassVar[str] = "local"
    Config: ClassVar[type[ComponentConfig]] = LocalConfig
    config: LocalConfig

    def deploy(self, request: DeploymentRequest) -> DeploymentState:
        check_name("deployment", request.name)
        folder = self._folder(request.name)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        release = self._release(request)
        order = {
            "order": "deploy",
            "release": release.to_dict(),
            "environment": self._environment(request.store),
            "host": self.config.host,
            "port": self.config.port,
            "start_timeout": self.config.start_timeout,
        }
        with self._changing(folder):
            self._ensure_supervisor(folder)
            try:
                answer = sockets.ask(folder, state.CONTROL, order, self.config.start_timeout + 30.0)
            except OSError as error:
                raise self._failed(request.name, f"its supervisor does not answer: {error}") from None
            if "failed" in answer and answer["serving"] is None:
                self._stop(folder)  # nothing is served: leave the logs, and no process
        if "failed" in answer:
            raise self._failed(request.name, answer["failed"], serving=answer.get("version"))
        return _as_state(answer)

    def describe(self, name: str) -> DeploymentState:
        folder = self._folder(name)
        stored = state.read(folder)
        if stored is None:
            raise DeploymentNotFound(
                f'There is no local deployment "{name}" in {folder.parent}.',
                hint=did_you_mean(name, self._names()),
                deployment=name,
            )
        if is_locked(folder / state.LOCK):
            with contextlib.suppress(OSError):
                return _as_state(sockets.ask(folder, state.CONTROL, {"order": "describe"}, 5.0))
            return _as_state(stored, "degraded", "Its supervisor lives but does not answer.")
        answer = sockets.probe(folder, f"worker-{stored['serving']}.sock", "/v2/health/ready")
        if answer is not None and answer[0] == 200:
            return _as_state(stored, "degraded", "Its supervisor is gone; its server still answers. Deploy again.")
        return _as_state(stored, "failed", stored["problem"] or "Its supervisor and its server are gone. Deploy again.")

    def delete(self, name: str) -> None:
        check_name("deployment", name)
        folder = self._folder(name)
        if not folder.exists():
            return
        with self._changing(folder):
            self._stop(folder)
            self._keep_predictions(folder)
            for path in folder.iterdir():
                if path.name != state.DEPLOY_LOCK and not (path.name == state.SPOOL and any(path.iterdir())):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            if [path.name for path in folder.iterdir()] == [state.DEPLOY_LOCK]:
                shutil.rmtree(folder, ignore_errors=True)

    def check(self) -> CheckResult:
        """Prove that the home can be written and that a port can be had."""
        began = time.perf_counter()
        try:
            folder = self.context.settings.home / "deployments"
            folder.mkdir(parents=True, exist_ok=True)
            with sockets.bind_private(folder, f".check-{os.getpid()}.sock"):
                (folder / f".check-{os.getpid()}.sock").unlink()
            with sockets.bind_public(self.config.host, self.config.port or 0, shared=True) as sock:
                port = sock.getsockname()[1]
            if self.config.token_connection and not self._token():
                return CheckResult(ok=False, detail=f"connection {self.config.token_connection} has no password")
        except (OSError, DeploymentError) as error:
            return CheckResult(ok=False, detail=str(error), hint="Choose another host or port, or another home.")
        milliseconds = (time.perf_counter() - began) * 1000
        return CheckResult(ok=True, detail=f"{self.config.host}: bound port {port}, {folder}, {milliseconds:.0f} ms")

    # ------------------------------------------------------------------ what a release is made of

    def _release(self, request: DeploymentRequest) -> Release:
        from ..predictions.writer import LogSettings
        from .server.loading import describe_store
        from .server.settings import Limits, Release

        config = self.config
        log = LogSettings(
            sample_rate=config.sample_rate,
            rotate_rows=config.rotate_rows,
            rotate_seconds=config.rotate_seconds,
            omit=config.omit,
        )
        return Release(
            deployment=request.name,
            model=request.model,
            version=request.version,
            artifact=dict(request.artifact),
            store=describe_store(request.store),
            home=str(self.context.settings.home),
            input_schema=request.input_schema,
            example=request.example,
            allow_pickle=config.allow_pickle,
            limits=Limits(
                max_body_bytes=config.max_body_bytes,
                max_rows=config.max_rows,
                request_timeout=config.request_timeout,
                max_batch_rows=config.max_batch_rows,
                drain_timeout=config.drain_timeout,
            ),
            log=log if config.log_predictions else None,
        )

    def _environment(self, store: ArtifactStore) -> dict[str, str]:
        """The secrets of a release, as its server's environment variables; they go through memory only."""
        from .server.worker import TOKEN_VARIABLE

        secrets = {}
        for connection_id in store.connections():
            connection = self.context.credentials.connection(connection_id)
            secrets[f"AIRFLOW_CONN_{connection_id.upper()}"] = _as_json(connection)
        if token := self._token():
            secrets[TOKEN_VARIABLE] = token
        return secrets

    def _token(self) -> str | None:
        if self.config.token_connection is None:
            return None
        token = self.context.credentials.connection(self.config.token_connection).password
        if not token:
            raise DeploymentFailed(
                f'Connection "{self.config.token_connection}" has no password, which is to be the bearer token.',
                hint="Set its password, or remove token_connection from the stack's deployer.",
            )
        return token

    # ------------------------------------------------------------------ the supervisor

    def _ensure_supervisor(self, folder: Path) -> None:
        if is_locked(folder / state.LOCK):
            try:
                sockets.ask(folder, state.CONTROL, {"order": "describe"}, 10.0)
            except OSError:
                logger.warning("the supervisor of %s does not answer; replacing it", folder.name)
                self._kill_supervisor(folder)
            else:
                return
        (folder / state.CONTROL).unlink(missing_ok=True)
        log = folder / state.SUPERVISOR_LOG
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            subprocess.run(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "windsock.provider.deployers.supervisor", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=folder,
                env=_clean_environment(),
                start_new_session=True,
                check=False,
                timeout=LAUNCH_TIMEOUT,
            )
        deadline = time.monotonic() + LAUNCH_TIMEOUT
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                sockets.ask(folder, state.CONTROL, {"order": "describe"}, 5.0)
                return
            time.sleep(0.02)
        raise self._failed(folder.name, f"its supervisor did not start:\n{state.tail(log)}")

    def _stop(self, folder: Path) -> None:
        """End all processes of a deployment, gently if they listen."""
        lock = folder / state.LOCK
        stored = state.read(folder)
        if is_locked(lock):
            with contextlib.suppress(OSError):
                sockets.ask(folder, state.CONTROL, {"order": "stop"}, 10.0)
            deadline = time.monotonic() + STOP_TIMEOUT
            while is_locked(lock) and time.monotonic() < deadline:
                time.sleep(0.02)
            if is_locked(lock):
                self._kill_supervisor(folder)
        if stored is not None:
            Process.from_dict(stored["supervisor"]).wait(STOP_TIMEOUT)
        for process in _workers(folder):
            process.kill(signal.SIGINT)
        for process in _workers(folder):
            if not process.wait(STOP_TIMEOUT):
                process.kill(signal.SIGKILL)
                process.wait(5.0)

    def _kill_supervisor(self, folder: Path) -> None:
        """Kill a supervisor that does not answer: the process that its state names, and never another one."""
        stored = state.read(folder)
        if stored is not None:
            process = Process.from_dict(stored["supervisor"])
            process.kill(signal.SIGKILL)
            process.wait(5.0)
        if is_locked(folder / state.LOCK):
            raise self._failed(folder.name, f"a process that is not known holds {folder / state.LOCK}.")

    def _keep_predictions(self, folder: Path) -> None:
        """Publish rows that a killed server left; the folder stays when its store cannot be reached."""
        spool = folder / state.SPOOL
        releases = sorted(folder.glob("release-*.json"), key=lambda path: path.stat().st_mtime)
        if not releases or not spool.is_dir() or not any(spool.iterdir()):
            return
        from ..predictions.spool import recover
        from .server.loading import build_store

        release = json.loads(releases[-1].read_text(encoding="utf-8"))
        try:
            recover(spool, build_store(release["store"], release["home"], self.context.credentials))
        except Exception:
            logger.exception("predictions in %s could not be published; they stay there", spool)

    @contextlib.contextmanager
    def _changing(self, folder: Path) -> Iterator[None]:
        try:
            with locked(folder / state.DEPLOY_LOCK, timeout=self.config.start_timeout + STOP_TIMEOUT):
                yield
        except TimeoutError:
            raise self._failed(folder.name, "another process has been changing it for minutes.") from None

    def _failed(self, name: str, why: str, serving: int | None = None) -> DeploymentFailed:
        still = f" Version {serving} keeps serving." if serving is not None else ""
        return DeploymentFailed(
            f'Deployment "{name}" failed: {why}{still}',
            hint=f"See all of its log: {self._folder(name)}",
            deployment=name,
            serving=serving,
        )

    def _folder(self, name: str) -> Path:
        return state.folder_of(self.context.settings.home, check_name("deployment", name))

    def _names(self) -> list[str]:
        folder = self.context.settings.home / "deployments"
        return [path.parent.name for path in folder.glob(f"*/{state.STATE}")] if folder.is_dir() else []


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _as_state(facts: dict[str, Any], phase: Any = None, detail: str | None = None) -> DeploymentState:
    host, port = facts.get("host"), facts.get("port")
    shown = f"[{host}]" if host and ":" in host else host
    keys = ("supervisor", "workers", "generation", "restarts", "host", "port")
    return DeploymentState(
        name=facts["name"],
        phase=phase or facts["phase"],
        model=facts.get("model"),
        version=facts.get("version"),
        url=f"http://{shown}:{port}" if host else None,
        detail=detail or facts.get("problem"),
        handle={key: facts.get(key) for key in keys},
    )


def _workers(folder: Path) -> list[Process]:
    stored = state.read(folder)
    return [Process.from_dict(item) for item in stored["workers"]] if stored is not None else []


def _as_json(connection: Connection) -> str:
    facts = asdict(connection) | {"extra": dict(connection.extra)}
    return json.dumps({key: value for key, value in facts.items() if value is not None and key != "conn_id"})


def _clean_environment() -> dict[str, str]:
    """This process's environment without Airflow's, and with its import path: a model may hold classes of a module
    that only this process's path finds."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_KEPT_OUT)}
    own = [path for path in sys.path if path and not Path(path).is_relative_to(sys.prefix)]
    own = [path for path in own if not Path(path).is_relative_to(sys.base_prefix)]
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    paths = list(dict.fromkeys([*given, *own]))
    if paths:
        kept["PYTHONPATH"] = os.pathsep.join(paths)
    return kept
