"""A disk that is full: one paragraph, nothing half there, and all is well when there is space again."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("full_disk.py")


def run(*command: str) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def recovered(found: dict[str, Any]) -> None:
    assert (found["again"], found["after"]) == (None, None)
    assert found["left"] == []  # nothing of what failed takes space
    assert found["integrity"] == "ok"
    steps = [tuple(step) for step in found["steps"]]
    assert ("r1", "make", 2, "success") in steps
    assert ("r3", "load", 2, "success") in steps
    assert not [step for step in steps if step[3] == "running"]


def space_of_its_own(folder: Path) -> list[str]:
    """A command that runs another one with ten megabytes of disk at ``folder``; empty where that is refused."""
    mount = f'mount -t tmpfs -o size=10m tmpfs {shlex.quote(str(folder))} && exec "$@"'
    for options in (["--mount"], ["--mount", "--user", "--map-root-user"]):
        command = ["unshare", *options, "sh", "-c", mount, "sh"]
        try:
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
        except FileNotFoundError:
            break
    return []


def test_a_file_system_without_space(tmp_path: Path) -> None:
    command = space_of_its_own(tmp_path)
    if not command:
        pytest.skip("this user may not mount a file system of its own; the test below needs no privilege")
    found = run(*command, sys.executable, str(SCRIPT), str(tmp_path), "mount")
    assert found["artifact"].startswith("StoreUnavailable: ")
    assert "No space left on device" in found["artifact"]
    assert "Free space" in found["artifact"]
    assert found["artifact"].count("\n") <= 1
    assert found["database"].startswith("MetadataUnavailable: ")
    assert "full" in found["database"]
    assert "the space on its disk" in found["database"]
    assert found["both"].startswith("MetadataUnavailable: ")
    assert found["reading"] is None
    recovered(found)


def test_a_limit_of_the_process(tmp_path: Path) -> None:
    found = run(sys.executable, str(SCRIPT), str(tmp_path), "limit")
    assert found["artifact"].startswith("StoreUnavailable: ")
    assert "File too large" in found["artifact"]
    recovered(found)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_place_that_is_always_full(tmp_path: Path) -> None:
    """The disk may be full of the output itself: the command that writes it says so."""
    environ = {**os.environ, "WINDSOCK_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "windsock.provider.cli.main", "runs", "list", "--output", "json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, env=environ, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
