"""Serving in the foreground, the log of a deployment that is killed, and a model that lives on S3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import serving_lab as lab
from windsock.provider.artifacts.stores.s3 import S3ArtifactStore
from windsock.provider.deployers.server.serve import serve
from windsock.provider.errors import ComponentInvalid, NotPermitted
from windsock.provider.predictions import reader
from windsock.provider.predictions.spool import SUFFIX, _batches

if TYPE_CHECKING:
    from pathlib import Path

    from windsock.provider.artifacts.store import ArtifactStore
    from windsock.provider.deployers.local import LocalDeployer

_SERVE = """
import json, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
import serving_lab as lab
from windsock.provider.deployers.server.serve import serve
home = Path(sys.argv[1])
store = lab.store_of(lab.context_of(home))
status = serve(lab.ref_of(lab.linear(5.0), store), store=store, home=home, model="line", version=4,
               input_schema=lab.LINEAR_SCHEMA, token="t0ken", on_ready=lambda url: print(url, flush=True))
sys.exit(status)
"""


class TestForeground:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_serves_until_the_signal(self, tmp_path: Path, number: int) -> None:
        from pathlib import Path as _Path

        code = _SERVE.format(tests=str(_Path(__file__).parents[1]))
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        client = lab.Client(url, token="t0ken")
        status, answer = client.post("/predict", lab.ROW)
        assert (status, answer["predictions"], answer["model_version"]) == (200, [8.0], 4)
        assert lab.Client(url).post("/predict", lab.ROW)[0] == 401
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(20) == 0
        assert time.monotonic() - began < 5, "an idle client does not hold it up"

    def test_a_public_host_needs_a_token(self, store: ArtifactStore, tmp_path: Path) -> None:
        with pytest.raises(NotPermitted, match=r"0\.0\.0\.0"):
            serve({}, store=store, home=tmp_path, host="0.0.0.0")
        with pytest.raises(ComponentInvalid, match="token_connection"):
            lab.deployer_of(lab.context_of(tmp_path), host="0.0.0.0")


def wait_for_spooled(home: Path, rows: int) -> None:
    """Until so many predictions are on the disk: the first ones take a busy machine more than a second."""
    ends = time.monotonic() + 30
    while sum(batch.num_rows for path in home.rglob(f"*{SUFFIX}") for batch in _batches(path)) < rows:
        assert time.monotonic() < ends, "the predictions are not in the spool"
        time.sleep(0.05)


class TestPredictionLog:
    def test_every_answer_is_in_the_log_though_the_server_was_killed(
        self, deployer: LocalDeployer, store: ArtifactStore, home: Path
    ) -> None:
        state = deployer.deploy(lab.linear_request(store, 1))
        client = lab.Client(state.url)
        answered = [client.post("/predict", lab.ROW)[1]["request_id"] for _ in range(50)]
        wait_for_spooled(home, 50)
        os.kill(deployer.describe("line").handle["workers"][0]["pid"], signal.SIGKILL)
        client.close()
        client = lab.Client(state.url)
        answered.append(client.post("/predict", lab.ROW)[1]["request_id"])
        client.close()
        deployer.delete("line")
        rows = [reader.find(store.root, request_id) for request_id in answered]
        assert all(row is not None and row["prediction"] == 103.0 for row in rows)
        assert reader.rows(reader.files(store.root, "line")) == 51

    def test_delete_publishes_what_killed_processes_left(
        self, deployer: LocalDeployer, store: ArtifactStore, home: Path
    ) -> None:
        slow = lab.deployer_of(deployer.context, rotate_seconds=3600)
        client = lab.Client(slow.deploy(lab.linear_request(store, 1)).url)
        client.post("/predict", lab.ROW)
        wait_for_spooled(home, 1)
        lab.kill_all(home)
        client.close()
        slow.delete("line")
        assert reader.rows(reader.files(store.root, "line")) == 1


class TestObjectStore:
    def test_a_model_on_s3_with_a_connection_that_no_file_holds(self, moto_server: str, home: Path) -> None:
        secret = f"secret-{uuid.uuid4().hex}"
        extra = {
            "endpoint_url": moto_server,
            "region_name": "us-east-1",
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        }
        connection = {"conn_type": "aws", "login": "key", "password": secret, "extra": extra}
        context = lab.context_of(home, {"AIRFLOW_CONN_AWS_ML": json.dumps(connection)})
        bucket = f"models-{uuid.uuid4().hex[:8]}"
        store: Any = S3ArtifactStore.from_mapping({"bucket": bucket, "prefix": "ml", "connection": "aws_ml"}, context)
        store.filesystem.call_s3("create_bucket", Bucket=bucket)
        deployer = lab.deployer_of(context)
        try:
            client = lab.Client(deployer.deploy(lab.linear_request(store, 2)).url)
            answer = client.post("/predict", lab.ROW)[1]
            client.close()
            assert answer["predictions"] == [203.0]
            files = [path for path in home.rglob("*") if path.is_file()]
            assert not [path for path in files if secret.encode() in path.read_bytes()]
        finally:
            deployer.delete("line")
        options = {"key": "key", "secret": secret, "endpoint_url": moto_server}
        row = reader.find(store.root, answer["request_id"], storage_options=options)
        assert row is not None
        assert (row["model"], row["version"], row["prediction"]) == ("line", 2, 203.0)
