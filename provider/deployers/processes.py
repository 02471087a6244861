"""Processes that are recognised again: a pid alone may belong to somebody else by now.

A process is a pid together with the moment it started, as the kernel counts it. Signals go through a file descriptor
of the process where the system has those, so that nothing can slip in between looking and killing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Process:
    """One process for all time. ``started`` is opaque."""

    pid: int
    started: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Process:
        return cls(int(data["pid"]), str(data["started"]))

    def alive(self) -> bool:
        return identify(self.pid) == self

    def kill(self, number: int = signal.SIGKILL) -> bool:
        """Send a signal to this very process; False when it is gone, whoever has its pid now."""
        with contextlib.suppress(OSError), _held(self.pid) as descriptor:
            if self.alive():
                if descriptor is None:
                    os.kill(self.pid, number)
                else:
                    signal.pidfd_send_signal(descriptor, number)
                return True
        return False

    def wait(self, seconds: float) -> bool:
        """Whether it ended within so many seconds."""
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


@contextlib.contextmanager
def _held(pid: int) -> Iterator[int | None]:
    """A descriptor of the process, where the system has those: as long as it is open, it means no other process."""
    if not hasattr(os, "pidfd_open"):
        yield None
        return
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def identify(pid: int) -> Process | None:
    """The process that has this pid now; None when nobody has it, or only its exit status is left."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else Process(pid, f"{_boot()}:{fields[19]}")
    found = subprocess.run(  # noqa: S603 - a fixed command and a number
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = found.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else Process(pid, started.strip())


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
    except OSError:
        return ""


@contextlib.contextmanager
def locked(path: Path, *, timeout: float) -> Iterator[None]:
    """Hold the lock of a file. Raises ``TimeoutError``. The kernel lets go of it when the holder dies."""
    deadline = time.monotonic() + timeout
    while True:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path} is locked by another process") from None
                time.sleep(0.05)
                continue
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                yield  # else its folder was removed while this process waited
                return


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
