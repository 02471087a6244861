"""Serving: single-row requests a second of the model server, against plain FastAPI with the same estimator.

The model is a forest of 100 trees over 30 features (scikit-learn's breast cancer data). Server and client are
separate processes; the client keeps connections alive and asks again as soon as it is answered. The baseline is what
a team writes in an afternoon: FastAPI, one ``predict`` a request, on uvicorn with the same event loop. It gets every
advantage: no data frame, no probabilities, no log of its predictions.

``python benchmarks/serving.py [--quick]`` prints the table.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

CONNECTIONS = 32
TARGET = 5.0
"""Times the baseline: micro-batching is worth more than that, or it is broken."""


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Requests a second at 32 connections and at one, as ratios of the baseline's in the same run."""
    seconds = 2.0 if quick else 6.0
    with tempfile.TemporaryDirectory() as home:
        ours, baseline = _measure(Path(home), seconds)
    many, one = ours
    base_many, base_one = baseline
    return [
        _row("serving.requests_per_second.32_connections", many["rate"], base_many["rate"], TARGET),
        _row("serving.requests_per_second.1_connection", one["rate"], base_one["rate"], 0.9),
        _row("serving.p50_ms.32_connections", many["p50_ms"], base_many["p50_ms"], 1.0, "ms", smaller=True),
        _row("serving.p99_ms.32_connections", many["p99_ms"], base_many["p99_ms"], 1.0, "ms", smaller=True),
        _row("serving.p50_ms.1_connection", one["p50_ms"], base_one["p50_ms"], 1.1, "ms", smaller=True),
    ]


def _row(
    name: str, value: float, baseline: float, target: float, unit: str = "1/s", *, smaller: bool = False
) -> dict[str, Any]:
    ratio = value / baseline
    return {
        "name": name,
        "value": value,
        "baseline": baseline,
        "ratio": ratio,
        "target": target,
        "ok": ratio <= target if smaller else ratio >= target,
        "unit": unit,
    }


def _measure(home: Path, seconds: float) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    import joblib
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier
    from windsock.provider.predictions.schema import example_rows, infer_schema

    features, target = load_breast_cancer(return_X_y=True, as_frame=True)
    model = RandomForestClassifier(100, random_state=0).fit(features, target)
    schema = infer_schema(features, model=model)
    example = example_rows(features, schema, n=1)
    body = json.dumps({"instances": example}).encode()
    joblib.dump(model, home / "model.joblib")
    return _ours(home, model, schema, example, body, seconds), _baseline(home, body, seconds)


def _ours(
    home: Path, model: Any, schema: dict[str, Any], example: list[Any], body: bytes, seconds: float
) -> list[dict[str, float]]:
    from windsock.provider.artifacts.saving import save
    from windsock.provider.artifacts.stores.local import LocalArtifactStore
    from windsock.provider.component import ComponentContext
    from windsock.provider.deployers.base import DeploymentRequest
    from windsock.provider.deployers.local import LocalConfig, LocalDeployer
    from windsock.provider.security.credentials import EnvironmentCredentials
    from windsock.provider.settings import Settings

    context = ComponentContext(Settings.load({"home": str(home)}, environ={}), EnvironmentCredentials())
    store = LocalArtifactStore.from_mapping({}, context)
    assert isinstance(store, LocalArtifactStore)
    stored = save(model, store)
    deployer = LocalDeployer(LocalConfig(), context)
    ref = {"uri": stored.uri, "digest": stored.digest, "type": stored.type, "materializer": stored.materializer}
    state = deployer.deploy(DeploymentRequest("bench", "bench", 1, ref, store, schema, example))
    try:
        assert state.url is not None
        return [_load(state.url, body, count, seconds) for count in (CONNECTIONS, 1)]
    finally:
        deployer.delete("bench")


def _baseline(home: Path, body: bytes, seconds: float) -> list[dict[str, float]]:
    (home / "baseline.py").write_text(_FASTAPI, encoding="utf-8")
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "baseline:app", "--port", str(port), "--no-access-log"]
    server = subprocess.Popen([*command, "--log-level", "warning"], cwd=home)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{url}/ready", server)
        return [_load(url, body, count, seconds) for count in (CONNECTIONS, 1)]
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)


_FASTAPI = """
import joblib
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = joblib.load("model.joblib")
names = [str(name) for name in model.feature_names_in_]
del model.feature_names_in_


class Request(BaseModel):
    instances: list[dict[str, float]]


@app.get("/ready")
def ready():
    return {}


@app.post("/predict")
async def predict(request: Request):
    rows = [[row[name] for name in names] for row in request.instances]
    return {"predictions": model.predict(rows).tolist()}
"""


def _free_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the baseline server did not start")


def _load(url: str, body: bytes, connections: int, seconds: float) -> dict[str, float]:
    """Ask from a process of its own: rate, median and 99th percentile in milliseconds. Errors raise."""
    command = [sys.executable, __file__, "--client", url, str(connections), str(seconds)]
    done = subprocess.run(command, input=body, capture_output=True, check=True, env={**os.environ})
    result: dict[str, float] = json.loads(done.stdout)
    return result


class _Client(asyncio.Protocol):
    """One keep-alive connection that asks as soon as it was answered."""

    def __init__(self, request: bytes, latencies: list[float], until: float) -> None:
        self.request, self.latencies, self.until = request, latencies, until
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._ask()

    def _ask(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, separator, rest = self.data.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        now = time.perf_counter()
        if not head.startswith(b"HTTP/1.1 200"):
            self._end(RuntimeError(self.data.decode()))
            return
        self.latencies.append(now - self.began)
        self.data = b""
        if now < self.until:
            self._ask()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or RuntimeError("the server closed the connection"))

    def _end(self, error: Exception | None) -> None:
        if not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)
        self.transport.close()


async def _client(url: str, connections: int, seconds: float, body: bytes) -> dict[str, float]:
    host, _, port = url.removeprefix("http://").partition(":")
    head = f"POST /predict HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    request = head.encode() + b"\r\n\r\n" + body
    loop = asyncio.get_running_loop()

    async def ask(for_seconds: float) -> list[float]:
        latencies: list[float] = []
        until = time.perf_counter() + for_seconds
        opened = [
            loop.create_connection(lambda: _Client(request, latencies, until), host, int(port))
            for _ in range(connections)
        ]
        await asyncio.gather(*[(await connection)[1].done for connection in opened])
        return latencies

    await ask(0.5)  # warm up
    began = time.perf_counter()
    latencies = sorted(await ask(seconds))
    elapsed = time.perf_counter() - began
    return {
        "rate": len(latencies) / elapsed,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
    }


def main() -> None:
    if "--client" in sys.argv:
        url, connections, seconds = sys.argv[2:5]
        found = asyncio.run(_client(url, int(connections), float(seconds), sys.stdin.buffer.read()))
        print(json.dumps(found))
        return
    for row in run("--quick" in sys.argv):
        print(f"{row['name']:46} {row['value']:9.1f} {row['baseline']:9.1f} {row['ratio']:7.2f} {row['ok']}")


if __name__ == "__main__":
    main()
