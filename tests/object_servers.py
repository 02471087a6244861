"""Object stores for tests: Google Cloud Storage and Azure Blob Storage by emulators, S3 is ``moto_server``.

Azurite is an npm package: it is taken from PATH, or installed once into the user's cache folder by npm itself.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from servers import _wait_for_port, free_port, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

AZURITE = "3.35.0"
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The development account that every Azurite has: no secret."""


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[str]:
    """Google Cloud Storage with preconditions, in memory: its URL. Accepts anonymous requests."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).parent / "gcs_server.py"), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for_port(port, server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def azurite_server() -> Iterator[str]:
    """Azure Blob Storage, in memory: the connection string of its one account."""
    program = _azurite()
    port = free_port()
    options = ["--skipApiVersionCheck", "--inMemoryPersistence", "--extentMemoryLimit", "512", "--silent"]
    command = [str(program), *options, "--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for_port(port, server)
            url = f"http://127.0.0.1:{port}/{_ACCOUNT}"
            yield f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};BlobEndpoint={url};"
        finally:
            server.terminate()


def _azurite() -> str:
    found = shutil.which("azurite-blob")
    if found:
        return found
    npm = shutil.which("npm")
    if npm is None:
        missing("npm, which installs Azurite")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "windsock-tests" / f"azurite-{AZURITE}"
    program = cache / "node_modules" / ".bin" / "azurite-blob"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers of one test run want it at the same time
        if not program.exists():
            install = [str(npm), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            done = subprocess.run(
                [*install, "--prefix", str(cache), f"azurite@{AZURITE}"], capture_output=True, text=True, check=False
            )
            if done.returncode or not program.exists():
                missing(f"Azurite (npm: {done.stderr.strip()[-300:]})")
    return str(program)
