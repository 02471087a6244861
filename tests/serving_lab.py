"""Models, deployers and clients for the tests of serving."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from windsock.provider.artifacts.saving import save
from windsock.provider.artifacts.stores.local import LocalArtifactStore
from windsock.provider.component import ComponentContext
from windsock.provider.deployers.base import DeploymentRequest
from windsock.provider.deployers.local import LocalDeployer
from windsock.provider.predictions.schema import example_rows, infer_schema
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from windsock.provider.artifacts.store import ArtifactStore

LINEAR_SCHEMA = {
    "features": [{"name": name, "type": "float", "nullable": False} for name in ("a", "b")],
    "target": None,
    "frame": False,
    "outputs": {"task": "regression", "prediction": "float", "classes": None},
}
ROW = {"a": 1.0, "b": 2.0}


def context_of(home: Path, environ: Mapping[str, str] | None = None) -> ComponentContext:
    return ComponentContext(Settings.load({"home": str(home)}, environ={}), EnvironmentCredentials(environ or {}))


def store_of(context: ComponentContext) -> LocalArtifactStore:
    store = LocalArtifactStore.from_mapping({}, context)
    assert isinstance(store, LocalArtifactStore)
    return store


def deployer_of(context: ComponentContext, **options: Any) -> LocalDeployer:
    given = {"rotate_seconds": 1, "drain_timeout": 5, "start_timeout": 90, **options}
    deployer = LocalDeployer.from_mapping(given, context)
    assert isinstance(deployer, LocalDeployer)
    return deployer


def linear(bias: float) -> bytes:
    """An ONNX model: ``a + b + bias``. Loads in a moment, which roll-overs by the dozen are glad of."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((2, 1), dtype=np.float32), "weights")
    constant = numpy_helper.from_array(np.array([bias], dtype=np.float32), "bias")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"]), helper.make_node("Add", ["y", "bias"], ["out"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, 1])],
        [weights, constant],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def linear_request(store: ArtifactStore, version: int, name: str = "line", **changes: Any) -> DeploymentRequest:
    """Version ``v`` answers ``a + b + 100 v``, so that an answer tells who gave it."""
    facts: dict[str, Any] = {
        "name": name,
        "model": "line",
        "version": version,
        "artifact": ref_of(linear(100.0 * version), store),
        "store": store,
        "input_schema": LINEAR_SCHEMA,
        "example": [ROW],
    }
    return DeploymentRequest(**{**facts, **changes})


def model_request(store: ArtifactStore, model: Any, data: Any, *, name: str = "model", version: int = 1) -> Any:
    schema = infer_schema(data, model=model)
    return DeploymentRequest(
        name=name,
        model=name,
        version=version,
        artifact=ref_of(model, store),
        store=store,
        input_schema=schema,
        example=example_rows(data, schema),
    )


def ref_of(value: Any, store: ArtifactStore, **options: Any) -> dict[str, Any]:
    stored = save(value, store, **options)
    return {"uri": stored.uri, "digest": stored.digest, "type": stored.type, "materializer": stored.materializer}


class Client:
    """One keep-alive connection."""

    def __init__(self, url: str | None, token: str | None = None) -> None:
        parts = urlsplit(url or "")
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        self.headers = {"authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str) -> tuple[int, Any]:
        return self.ask("GET", path)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, content, headers)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        self.connection.request(method, path, body, {**self.headers, **(headers or {})})
        response = self.connection.getresponse()
        content = response.read()
        self.response_headers = {key.lower(): value for key, value in response.getheaders()}
        if self.response_headers.get("content-type", "").startswith("application/json"):
            return response.status, json.loads(content)
        return response.status, content.decode()

    def close(self) -> None:
        self.connection.close()


def processes_of(home: Path) -> list[int]:
    """Processes that have this home in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(home).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def kill_all(home: Path) -> None:
    """Kill -9 every process of this home, also one that its supervisor started meanwhile."""
    while pids := processes_of(home):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
