"""Processes that write runs, and processes that prune, on one store and one database."""

from __future__ import annotations

import json
import random
import time
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from windsock.provider.artifacts.saving import load
from windsock.provider.artifacts.store import ArtifactStore
from windsock.provider.artifacts.stores.local import LocalArtifactStore
from windsock.provider.component import ComponentContext
from windsock.provider.metadata import Metadata, NewModelVersion
from windsock.provider.retention.policy import RetentionPolicy
from windsock.provider.retention.prune import prune
from windsock.provider.runtime.execution import Execution
from windsock.provider.runtime.invocation import OutputTarget, RunIdentity, StepInvocation, StepResult
from windsock.provider.runtime.recorder import MetadataRecorder
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.settings import Settings

KEPT = 1
CONTENTS = 5
"""So few that writers meet what others have stored, and what pruners are about to remove."""


def store_at(place: tuple[str, ...]) -> ArtifactStore:
    if place[0] == "local":
        return LocalArtifactStore.from_mapping({"path": Path(place[1])})  # type: ignore[return-value]
    from windsock.provider.artifacts.stores.s3 import S3ArtifactStore

    extra = {
        "endpoint_url": place[1],
        "region_name": "us-east-1",
        "config_kwargs": {"s3": {"addressing_style": "path"}},
    }
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
    context = ComponentContext(
        settings=Settings.load(environ={"WINDSOCK_HOME": mkdtemp()}),
        credentials=EnvironmentCredentials({"AIRFLOW_CONN_ML": json.dumps(connection)}),
    )
    options = {"bucket": place[2], "prefix": "team/artifacts", "connection": "ml"}
    return S3ArtifactStore.from_mapping(options, context)  # type: ignore[return-value]


def produce(number: int, folder: str) -> tuple[dict[str, Any], Path]:
    checkpoint = Path(folder, f"checkpoint-{number}")
    for name in ("weights.bin", "deep/state.bin"):
        (checkpoint / name).parent.mkdir(parents=True, exist_ok=True)
        (checkpoint / name).write_bytes(f"{name} {number}".encode() * 100)
    return {"number": number}, checkpoint


class SlowRecorder(MetadataRecorder):
    """Between storing and recording, and between the cache's hit and its record, much may happen."""

    def finish(self, facts: Any, result: StepResult, *, patience: float | None = None) -> dict[str, Any]:
        time.sleep(random.choice((0, 0, 0.1, 1.5)))
        return super().finish(facts, result, patience=patience)


def write_runs(url: str, place: tuple[str, ...], who: str, turns: int) -> dict[str, int]:
    """Run after run; each time, everything that is referred to must be there, to the last byte."""
    metadata, store = Metadata.open(url), store_at(place)
    random.seed(who)
    folder = mkdtemp()
    counts = {"success": 0, "cached": 0, "again": 0, "read": 0}
    recent: list[dict[str, Any]] = []
    aliased: list[dict[str, Any]] = []
    for turn in range(1, turns + 1):
        number = random.randrange(CONTENTS)
        invocation = StepInvocation(
            step="produce",
            function="retention_racers:produce",
            identity=RunIdentity(who, f"r{turn}", "produce"),
            arguments={"number": {"value": number}, "folder": {"value": folder}},
            outputs=(
                OutputTarget("facts", None, f"{who}.facts"),
                OutputTarget("checkpoint", "pathlib.Path", f"{who}.checkpoint"),
            ),
            pipeline=who,
        )
        execution = Execution(invocation, store, SlowRecorder(lambda: metadata))
        result = execution.run()
        metadata.runs.end(who, f"r{turn}", "success")
        counts[result.state] += 1
        counts["again"] += bool(execution.present)
        recent = [result.outputs, *recent][:KEPT]
        if turn % 5 == 0:
            ref = result.outputs["facts"]
            version = metadata.models.register(NewModelVersion(model=who, artifact=ref, source=f"turn {turn}"))
            metadata.models.set_alias(who, "production", version.version, actor="me")
            metadata.models.archive(who, previous, "me") if (previous := version.version - 1) else None
            aliased = [ref]
        for refs in recent:
            number_of = load(refs["facts"], store)["number"]
            checkpoint = load(refs["checkpoint"], store)
            assert (checkpoint / "deep/state.bin").read_bytes() == f"deep/state.bin {number_of}".encode() * 100
            counts["read"] += 2
        for ref in aliased:
            load(ref, store)
    return counts


def prune_often(url: str, place: tuple[str, ...], grace: float, writers: int, done: str) -> dict[str, int]:
    metadata, store = Metadata.open(url), store_at(place)
    policy = RetentionPolicy.of({"default": {"runs": KEPT}})
    counts = {"removed": 0, "marked": 0, "unmarked": 0, "failed": 0}
    while len(list(Path(done).iterdir())) < writers:
        summary = prune(metadata, store, policy, grace=timedelta(seconds=grace))
        for name in counts:
            counts[name] += getattr(summary, name)
        time.sleep(0.05)
    return counts


def act(what: str, *arguments: Any) -> dict[str, int]:
    if what == "prune":
        return prune_often(*arguments)
    *arguments, done = arguments  # type: ignore[assignment]
    try:
        return write_runs(*arguments)
    finally:
        Path(done, arguments[2]).touch()  # or the pruners would go on for ever
