"""A private Airflow for the demo: its own home, SQLite, LocalExecutor, free ports, and nothing left behind."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError, WindsockError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
USER = "admin"
_MARKER = "windsock-demo"


class DemoFailed(WindsockError):
    """The demo's Airflow did not do what it should; the hint names the log to read."""


class PrivateAirflow:
    """Airflow's four processes over one folder. Start it, talk to it over its REST API, stop it.

    Every process it starts, and whatever those start, carries ``AIRFLOW_HOME`` of this folder in its environment: that
    is how :meth:`stop` finds them all, those of an earlier demo that was killed included, and touches nothing else.

    ``environment`` wins over everything else. ``users`` are names to roles of Airflow's simple auth manager;
    ``admin`` is the one who asks unless :meth:`request` is told otherwise.
    """

    def __init__(
        self,
        folder: Path,
        dags: Path,
        environment: Mapping[str, str],
        *,
        components: Sequence[str] = COMPONENTS,
        users: Mapping[str, str] = MappingProxyType({USER: "admin"}),
    ) -> None:
        self.folder = folder.absolute()
        self.home = self.folder / "airflow"
        self.logs = self.folder / "logs"
        self.components = tuple(components)
        self.users = dict(users)
        self.passwords = {user: secrets.token_urlsafe(9) for user in users}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._files = ExitStack()
        self._tokens: dict[str, str] = {}
        self.port, log_port, trigger_log_port = _free_ports(3)
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**os.environ, **self._configuration(dags, log_port, trigger_log_port), **environment}
        # Every task is a new process: without byte code each of them would compile what it imports.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    @property
    def password(self) -> str:
        """The password of ``admin``."""
        return self.passwords[USER]

    def prepare(self) -> None:
        """An empty home. Refuses a folder that is not a demo's."""
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / _MARKER).exists():
            raise ConfigurationError(
                f"{self.folder} exists and is no demo's folder.", hint="Name another: windsock demo --home FOLDER"
            )
        stop_all(self.home)
        _remove_content(self.folder)
        for folder in (self.home, self.logs):
            folder.mkdir(parents=True)
        (self.folder / _MARKER).write_text("This folder is deleted and made anew by each `windsock demo`.\n")
        passwords = self.home / "passwords.json"
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps(self.passwords))

    def migrate(self) -> None:
        with (self.logs / "migrate.log").open("wb") as log:
            done = subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"],
                cwd=self.home,
                env=self.environment,
                stdout=log,
                stderr=log,
                check=False,
            )
        if done.returncode:
            raise self._failure("airflow db migrate failed", "migrate")

    def start(self) -> None:
        for name in self.components:
            log = self._files.enter_context((self.logs / f"{name}.log").open("wb"))
            # A session of its own: Ctrl-C reaches this process only, which then stops the others in order. And not in
            # the clone, which Python would search for modules: it would find Windsock a second time.
            self._processes[name] = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "airflow", name, *(["--port", str(self.port)] if name == "api-server" else [])],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_healthy(self, timeout: float = 180.0) -> None:
        """Until all that were started report a heartbeat."""
        wanted = ("metadatabase", *(name.replace("-", "_") for name in self.components if name != "api-server"))

        def healthy() -> bool:
            self.check_alive()
            try:
                report = self.request("GET", "/api/v2/monitor/health", token=False)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return False
            return all((report.get(name) or {}).get("status") == "healthy" for name in wanted)

        wait_for(healthy, timeout, "Airflow to become healthy", pause=0.5)

    def check_alive(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise self._failure(f"airflow {name} ended with exit code {process.returncode}", name)

    def stop(self) -> None:
        for process in self._processes.values():
            _signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 15
        for process in self._processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal_group(process.pid, signal.SIGKILL)
                process.wait(5)
        self._processes.clear()
        self._files.close()
        stop_all(self.home)

    def request(self, method: str, path: str, body: Any = None, *, user: str = USER, token: bool = True) -> Any:
        """One call of the REST API; returns the JSON of its answer."""
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {self.token(user)}"
        data = None if body is None else json.dumps(body).encode()
        call = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)  # noqa: S310 - http
        with urllib.request.urlopen(call, timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read() or b"null")

    def wait_for_dags(self, dag_ids: tuple[str, ...], timeout: float = 120.0) -> None:
        def parsed() -> bool:
            self.check_alive()
            errors = self.request("GET", "/api/v2/importErrors")["import_errors"]
            if errors:
                raise DemoFailed(f"{errors[0]['filename']} cannot be imported: {errors[0]['stack_trace'][-800:]}")
            found = self.request("GET", "/api/v2/dags?limit=100")["dags"]
            return set(dag_ids) <= {dag["dag_id"] for dag in found}

        wait_for(parsed, timeout, f"the DAGs {', '.join(dag_ids)} to be parsed")

    def unpause(self, dag_id: str) -> None:
        self.request("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def pause(self, dag_id: str) -> None:
        self.request("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True})

    def trigger(self, dag_id: str, **body: Any) -> str:
        return str(self.request("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, **body})["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Runs of a DAG, oldest first."""
        found: list[dict[str, Any]] = self.request("GET", f"/api/v2/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
        return sorted(found, key=lambda run: run["run_after"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        found = self.request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=200")
        return list(found["task_instances"])

    def wait_for_run(
        self, dag_id: str, run_id: str, timeout: float, each: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        """Until the run has ended. Raises ``DemoFailed`` naming the failed tasks if it did not succeed."""

        def ended() -> dict[str, Any] | None:
            each()
            self.check_alive()
            run: dict[str, Any] = self.request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
            return run if run["state"] in ("success", "failed") else None

        run: dict[str, Any] = wait_for(ended, timeout, f"{dag_id} to finish")
        if run["state"] != "success":
            failed = [task["task_id"] for task in self.tasks(dag_id, run_id) if task["state"] == "failed"]
            raise DemoFailed(
                f"{dag_id} {run_id} failed at {', '.join(failed) or 'an unknown task'}.",
                hint=f"Read the logs below {self.home / 'logs' / f'dag_id={dag_id}'}",
            )
        return run

    def token(self, user: str = USER) -> str:
        """What the user proves to be the user with; asked for once."""
        if user not in self._tokens:
            body = {"username": user, "password": self.passwords[user]}
            self._tokens[user] = str(self.request("POST", "/auth/token", body, token=False)["access_token"])
        return self._tokens[user]

    def _failure(self, message: str, log: str) -> DemoFailed:
        path = self.logs / f"{log}.log"
        tail = path.read_text(errors="replace").splitlines()[-15:] if path.exists() else []
        return DemoFailed(f"{message}:\n" + "\n".join(tail), hint=f"Read {path}")

    def _configuration(self, dags: Path, log_port: int, trigger_log_port: int) -> dict[str, str]:
        options: dict[str, dict[str, Any]] = {
            "core": {
                "dags_folder": dags.absolute(),
                "load_examples": False,
                "executor": "LocalExecutor",
                "parallelism": 4,
                "fernet_key": "",
                "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
                "simple_auth_manager_users": ",".join(f"{name}:{role}" for name, role in self.users.items()),
                "simple_auth_manager_passwords_file": self.home / "passwords.json",
                "execution_api_server_url": f"{self.url}/execution/",
            },
            "database": {"sql_alchemy_conn": f"sqlite:///{self.home / 'airflow.db'}"},
            "api": {
                "host": "127.0.0.1",
                "port": self.port,
                "base_url": self.url,
                "workers": 1,
                "secret_key": secrets.token_hex(16),
            },
            "api_auth": {"jwt_secret": secrets.token_hex(32)},
            # Tuned for somebody who watches: Airflow's own defaults would make every hand-over a second slower.
            "scheduler": {"scheduler_idle_sleep_time": 0.2, "create_cron_data_intervals": False},
            "dag_processor": {"refresh_interval": 20, "min_file_process_interval": 20, "parsing_processes": 1},
            "triggerer": {"default_capacity": 100},
            "logging": {
                "worker_log_server_port": log_port,
                "trigger_log_server_port": trigger_log_port,
                "logging_level": "INFO",
            },
        }
        flat = {
            f"AIRFLOW__{section.upper()}__{name.upper()}": str(value)
            for section, values in options.items()
            for name, value in values.items()
        }
        return {"AIRFLOW_HOME": str(self.home), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **flat}


def wait_for(done: Callable[[], Any], timeout: float, what: str, *, pause: float = 1.0) -> Any:
    """Poll until ``done`` gives something true. Raises ``DemoFailed`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        result = done()
        if result:
            return result
        if time.monotonic() > deadline:
            raise DemoFailed(f"Waited {timeout:.0f} seconds for {what}.")
        time.sleep(pause)


def stop_all(airflow_home: Path) -> None:
    """End every process whose environment says that it belongs to this Airflow home."""
    import psutil

    mine = list(_processes_of(airflow_home))
    for process in mine:
        _quietly(process.terminate)
    _, alive = psutil.wait_procs(mine, timeout=5)
    for process in alive:
        _quietly(process.kill)
    psutil.wait_procs(alive, timeout=5)


def _processes_of(airflow_home: Path) -> Iterator[Any]:
    import psutil

    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("AIRFLOW_HOME") == str(airflow_home):
                yield process
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or not ours to look at


def _quietly(action: Callable[[], None]) -> None:
    import psutil

    with suppress(psutil.Error):
        action()


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def _remove_content(folder: Path) -> None:
    import shutil

    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _free_ports(count: int) -> list[int]:
    """Free ports, different from each other. Another process could take one before we do; then Airflow says so."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
