"""A step whose object store throttles, cuts connections in the middle of a part, or is gone.

What a single request does then is in ``tests/artifacts/test_store_faults.py``; here it is what becomes of the step.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from faults_lab import load, nothing_is_torn, run
from proxy import Proxy, answering, cut_after, slow, through
from windsock.provider.artifacts.saving import load as load_value
from windsock.provider.errors import StoreUnavailable
from windsock.provider.metadata.keys import run_key
from windsock.provider.runtime.spool import Spool
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postgres_lab import Postgres


@pytest.fixture
def line(moto_server: str) -> Iterator[Proxy]:
    """A proxy in front of moto's S3."""
    with Proxy("127.0.0.1", urlsplit(moto_server).port or 0) as proxy:
        yield proxy


@pytest.fixture
def cloud(line: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stack]]:
    """Makes stacks with one bucket of S3 behind the proxy, and SQLite or another database."""
    extra = {
        "endpoint_url": f"http://127.0.0.1:{line.port}",
        "region_name": "us-east-1",
        "config_kwargs": {"s3": {"addressing_style": "path"}, "retries": {"max_attempts": 1}},
    }
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ML", json.dumps(connection))
    bucket = f"faults-{uuid.uuid4().hex[:12]}"
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "cloud.yaml").write_text(
        f"name: cloud\nartifact_store: {{flavor: s3, bucket: {bucket}, connection: ml, part_size: 5242880, retries: 4}}"
    )
    made: list[Stack] = []

    def make(url: str | None = None) -> Stack:
        environ = {"WINDSOCK_HOME": str(tmp_path / "home"), "WINDSOCK_STACKS_FOLDER": str(tmp_path / "stacks")}
        environ |= {"WINDSOCK_METADATA_PATIENCE": "0.3"} | ({"WINDSOCK_SQL_ALCHEMY_CONN": url} if url else {})
        made.append(Stack.load("cloud", settings=Settings.load(environ=environ)))
        return made[-1]

    store: Any = make().artifact_store
    store.filesystem.call_s3("create_bucket", Bucket=bucket)
    yield make
    for stack in made:
        stack.metadata.close()


@pytest.fixture
def stack(cloud: Callable[..., Stack]) -> Stack:
    return cloud()


def big(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(2_500_000)  # 20 MB: four parts


class TestStep:
    @pytest.mark.parametrize(("status", "reason"), [(503, "Slow Down"), (429, "Too Many Requests")])
    def test_throttled(self, stack: Stack, line: Proxy, status: int, reason: str) -> None:
        def function(seed: int) -> list[int]:
            line.rule = answering(status, reason, times=3)
            return load(seed)

        assert run(stack, "load", seed=1, function=function).outputs["output"]["version"] == 1
        nothing_is_torn(stack, stack.metadata)

    def test_cut_in_the_middle_of_a_part(self, stack: Stack, line: Proxy) -> None:
        def function(seed: int) -> np.ndarray:
            value = big(seed)
            line.rule = cut_after(2_000_000, upwards=True, times=3)
            return value

        made = run(stack, "make", seed=1, function=function).outputs["output"]
        line.rule = cut_after(2_000_000, upwards=False, times=3)
        assert np.array_equal(load_value(made, stack.artifact_store), big(1))
        line.rule = through
        nothing_is_torn(stack, stack.metadata)

    def test_slow(self, stack: Stack, line: Proxy) -> None:
        line.rule = slow(0.02)
        assert run(stack, "load", seed=1).outputs["output"]["version"] == 1

    def test_gone_for_good_it_fails_clearly_and_the_retry_makes_it_right(self, stack: Stack, line: Proxy) -> None:
        store: Any = stack.artifact_store
        patient, store.config = store.config, store.config.model_copy(update={"retries": 1})

        def function(seed: int) -> np.ndarray:
            value = big(seed)
            cut = cut_after(3_000_000, upwards=True, times=1)

            def rule(piece: Any) -> bytes | None:  # some parts arrive, then the endpoint is gone
                passed = cut(piece)
                if passed is None:
                    line.refuse()
                return passed

            line.rule = rule
            return value

        with pytest.raises(StoreUnavailable) as caught:
            run(stack, "make", seed=1, function=function)
        text = str(caught.value)
        assert "does not work" in text
        assert "windsock stack check" in text
        assert len(text) < 600
        (step,) = stack.metadata.runs.steps(run_key("shop", "r1"))
        assert step.state == "failed"
        assert "StoreUnavailable" in str(step.error)
        line.rule, store.config = through, patient
        line.accept()
        assert list(stack.artifact_store.list("objects/")) == []  # not a part of it is visible
        made = run(stack, "make", "r1", 2, seed=1, function=big).outputs["output"]
        assert made["version"] == 1
        assert np.array_equal(load_value(made, stack.artifact_store), big(1))
        nothing_is_torn(stack, stack.metadata)


class TestSpoolInAnObjectStore:
    def test_the_next_step_of_the_run_replays_it(
        self, cloud: Callable[..., Stack], line: Proxy, postgres: Postgres, door: Proxy
    ) -> None:
        """It is asked for, because the reference that the step reads has no version."""
        url = postgres.url(postgres.database(), door.port)
        stack = cloud(url)
        door.refuse()
        rows = run(stack, "load", seed=1).outputs["output"]
        door.accept()
        assert rows["version"] is None
        assert [e.kind for e in Spool(stack.artifact_store, "cloud").pending()] == ["start", "finish"]
        line.rule = answering(503, "Slow Down", times=2)
        other = cloud(url)  # a worker that knows nothing of the outage
        run(other, "add", rows=rows)
        assert Spool(stack.artifact_store, "cloud").pending() == []
        steps = other.metadata.runs.steps(run_key("shop", "r1"))
        assert [(s.step, s.state) for s in steps] == [("load", "success"), ("add", "success")]
        assert rows["version"] == 1  # the step saw the number, too
        nothing_is_torn(other, other.metadata)
