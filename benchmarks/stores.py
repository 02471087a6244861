"""Object stores: a folder of small files and one big file to S3, against boto3's own TransferManager doing the same.

Both talk to one moto server on this machine, which is what is slow here (about three milliseconds of its one processor
a request, whoever asks), so the requests are counted, too. Ours includes the digests, the manifest, the conditions and,
because a step may go on writing to what it returned, a copy of each file before it is sent, which is what the big file
pays for where the network costs nothing; boto3's has none of them. Both sides take turns, a thousand files each, to
keys of their own, because a minute of one side would not be like the next minute of the other.
boto3 is set up as it comes, but for a pool of connections that is as large as its number of threads.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windsock.provider.artifacts.saving import localized, save
from windsock.provider.artifacts.stores.s3 import S3ArtifactStore
from windsock.provider.component import ComponentContext
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BUCKET = "benchmark"


def run(quick: bool) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("WINDSOCK_BENCH_FOLDER")) as name:
        return _run(quick, Path(name))


def _run(quick: bool, folder: Path) -> list[dict[str, Any]]:
    files = folder / "many"
    files.mkdir()
    count, size = 1000, (64 << 20 if quick else 256 << 20)
    for n in range(count):
        (files / f"{n:05}.bin").write_bytes(os.urandom(10_000))
    big = folder / "big.bin"
    with big.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    with _moto() as url:
        turns = 3 if quick else 10
        rows = _compare(url, folder, files, f"{turns} x {count} files of 10 kB to S3", target=0.9, turns=turns)
        rows += _compare(url, folder, big, f"{size >> 20} MiB file to S3", target=None, turns=3)
    return rows


def _compare(
    url: str, folder: Path, source: Path, label: str, *, target: float | None, turns: int
) -> list[dict[str, Any]]:
    theirs, ours = _Theirs(url), _Ours(url, folder)
    times: dict[tuple[Any, str], list[float]] = defaultdict(list)
    for turn in range(turns):
        for side in (theirs, ours) if turn % 2 == 0 else (ours, theirs):
            side.prepare(source, turn)
            times[side, "save"].append(_seconds(partial(side.save, source, turn)))
            times[side, "load"].append(_seconds(partial(side.load, source, turn, folder / "copy")))
    files = sum(1 for _ in source.iterdir()) if source.is_dir() else 1
    rows = []
    for action in ("save", "load"):
        baseline, value = statistics.median(times[theirs, action]), statistics.median(times[ours, action])
        rows.append(_row(f"{label}: {action} vs boto3", value, baseline, baseline / value, target, "s"))
    asked, needed = ours.requests / turns / 2 / files, theirs.requests / turns / 2 / files
    row = _row(f"{label}: requests, save and load, a file", asked, needed, needed / asked, target, "requests")
    return [*rows, row]


def _row(name: str, value: float, baseline: float, ratio: float, target: float | None, unit: str) -> dict[str, Any]:
    row = {"name": name, "value": value, "baseline": baseline, "ratio": ratio, "unit": unit}
    return row if target is None else {**row, "target": f">= {target}", "ok": ratio >= target}


def _seconds(action: Callable[[], Any]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


class _Ours:
    def __init__(self, url: str, folder: Path) -> None:
        extra = {
            "endpoint_url": url,
            "region_name": "us-east-1",
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        }
        connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
        self._context = ComponentContext(
            settings=Settings.load(environ={"WINDSOCK_HOME": str(folder / "home")}),
            credentials=EnvironmentCredentials({"AIRFLOW_CONN_ML": json.dumps(connection)}),
        )
        self._stores: dict[int, Any] = {}
        self._saved: dict[int, dict[str, Any]] = {}
        self.requests = 0

    def prepare(self, source: Path, turn: int) -> None:
        """Make the client, as boto3's is made before its turn."""
        options = {"bucket": _BUCKET, "prefix": f"ours-{source.name}-{turn}", "connection": "ml", "cache_size": 0}
        store: Any = S3ArtifactStore.from_mapping(options, self._context)
        call = store.bucket.call

        def counted(*arguments: Any, **named: Any) -> Any:
            self.requests += 1
            return call(*arguments, **named)

        store.exists("nothing")
        store.bucket.call = counted
        self._stores[turn] = store

    def save(self, source: Path, turn: int) -> None:
        stored = save(source, self._stores[turn])
        self._saved[turn] = {"uri": stored.uri, "digest": stored.digest, "type": stored.type}

    def load(self, source: Path, turn: int, copy: Path) -> None:
        with localized(self._saved[turn], self._stores[turn]) as path:
            assert path.is_dir() == source.is_dir()


class _Theirs:
    def __init__(self, url: str) -> None:
        import boto3
        from boto3.s3.transfer import TransferConfig
        from botocore.config import Config

        self._config = TransferConfig()
        options = Config(s3={"addressing_style": "path"}, max_pool_connections=self._config.max_concurrency)
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        self._client: Any = boto3.client("s3", endpoint_url=url, config=options, **keys)
        self._client.create_bucket(Bucket=_BUCKET)
        self.requests = 0
        self._client.meta.events.register("before-send.s3", self._count)

    def prepare(self, source: Path, turn: int) -> None:
        """Nothing: it is ready."""

    def _count(self, **_: Any) -> None:
        self.requests += 1

    def save(self, source: Path, turn: int) -> None:
        with self._manager() as manager:
            for path in source.iterdir() if source.is_dir() else [source]:
                manager.upload(str(path), _BUCKET, f"theirs-{source.name}-{turn}/{path.name}")

    def load(self, source: Path, turn: int, copy: Path) -> None:
        copy.mkdir()
        with self._manager() as manager:
            for path in source.iterdir() if source.is_dir() else [source]:
                manager.download(_BUCKET, f"theirs-{source.name}-{turn}/{path.name}", str(copy / path.name))
        shutil.rmtree(copy)

    def _manager(self) -> Any:
        from boto3.s3.transfer import create_transfer_manager

        return create_transfer_manager(self._client, self._config)


@contextmanager
def _moto() -> Iterator[str]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    program = Path(sys.executable).parent / "moto_server"
    command = [str(program), "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(600):
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
