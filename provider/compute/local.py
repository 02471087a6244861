"""Compute ``local``: the step runs in the Airflow worker, or in this process for ``pipeline.run()``.

``submit`` runs it in a process of its own on this machine, which is also how the entrypoint of remote steps is tested
without a cluster.
"""

from __future__ import annotations

import os
import platform
import shlex
import signal
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..component import CheckResult
from .base import Compute, Handle, JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENTRYPOINT = "windsock.provider.runtime.entrypoint"
_INHERITED = ("PATH", "HOME", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


class LocalCompute(Compute):
    """The machine that Airflow already has. CPU and memory limits are the worker's; ``resources`` are ignored."""

    operator: ClassVar[str] = "windsock.operators.steps:StepOperator"

    def check(self) -> CheckResult:
        return CheckResult(ok=True, detail=f"Python {platform.python_version()}, {os.cpu_count()} CPUs, this process")

    def submit(self, uri: str, *, environment: Mapping[str, str], resources: Mapping[str, Any]) -> Handle:
        """Start the process. It inherits no secret: only ``environment`` and where Python and the home are."""
        folder: Path = self.context.settings.home / "jobs" / uuid.uuid4().hex
        folder.mkdir(parents=True)
        run = shlex.join([sys.executable, "-m", _ENTRYPOINT, uri])
        code, part = shlex.quote(str(folder / "exit")), shlex.quote(str(folder / "exit.part"))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - quoted above
                ["/bin/sh", "-c", f"{run}; echo $? > {part} && mv {part} {code}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**{k: os.environ[k] for k in _INHERITED if k in os.environ}, **environment},
                start_new_session=True,
            )
        return {"pid": process.pid, "born": _born(process.pid), "folder": str(folder)}

    def describe(self, handle: Handle) -> JobState:
        folder = Path(handle["folder"])
        try:
            code = int((folder / "exit").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return self._without_exit_code(handle, folder)
        if code == 0:
            return JobState("succeeded")
        return JobState("failed", f"exit code {code}; its output is in {folder / 'log'}")

    def _without_exit_code(self, handle: Handle, folder: Path) -> JobState:
        if _alive(handle):
            return JobState("running")
        if (folder / "cancelled").exists():
            return JobState("cancelled")
        if folder.exists():
            return JobState("failed", f"killed; its output is in {folder / 'log'}")
        return JobState("unknown", f"no job folder {folder}")

    def cancel(self, handle: Handle) -> None:
        if _alive(handle):
            (Path(handle["folder"]) / "cancelled").touch()
            with suppress(ProcessLookupError):
                os.killpg(handle["pid"], signal.SIGTERM)


def _born(pid: int) -> str:
    """When the process began, in clock ticks: a process id is used again, the pair is not. Empty if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _alive(handle: Handle) -> bool:
    if sys.platform == "linux":
        return bool(handle["born"]) and _born(handle["pid"]) == handle["born"]
    try:
        os.kill(handle["pid"], 0)
    except OSError:
        return False
    return True
