"""The model server over real HTTP: what it answers to good and to bad requests, and what it then logs."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pandas as pd
import pytest
import serving_lab as lab
from windsock.provider.predictions import reader

if TYPE_CHECKING:
    from collections.abc import Iterator

FEATURES = {"tenure": 12, "charge": 70.5, "plan": "basic", "active": True}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A pipeline on mixed columns (numbers with nulls, strings, booleans), deployed once for all these tests."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    home = tmp_path_factory.mktemp("served")
    rows = 60
    data = pd.DataFrame(
        {
            "tenure": [i % 24 for i in range(rows)],
            "charge": [None if i % 10 == 0 else 20.0 + i for i in range(rows)],
            "plan": [("basic", "plus", "pro")[i % 3] for i in range(rows)],
            "active": [i % 2 == 0 for i in range(rows)],
        }
    )
    numbers = make_pipeline(SimpleImputer(), "passthrough")
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["plan"]), (numbers, ["tenure", "charge", "active"])
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(data, [i % 24 < 12 for i in range(rows)])
    context = lab.context_of(home)
    store = lab.store_of(context)
    deployer = lab.deployer_of(context, max_rows=50, max_body_bytes=100_000, request_timeout=2, rotate_seconds=0.5)
    request = lab.model_request(store, model, data, name="churn", version=7)
    state = deployer.deploy(request)
    yield type("Served", (), {"url": state.url, "model": model, "data": data, "root": store.root, "deployer": deployer})
    deployer.delete("churn")
    assert lab.processes_of(home) == []


@pytest.fixture
def client(served: Any) -> Iterator[lab.Client]:
    client = lab.Client(served.url)
    yield client
    client.close()


def logged(served: Any, request_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if row := reader.find(served.root, request_id):
            return row
        time.sleep(0.1)
    raise AssertionError(f"{request_id} is not in the log")


def metric(client: lab.Client, name: str) -> float:
    _, text = client.get("/metrics")
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
    return float(line.rpartition(" ")[2])


class TestPlain:
    def test_instances(self, client: lab.Client, served: Any) -> None:
        rows = json.loads(served.data.head(8).to_json(orient="records"))
        status, answer = client.post("/predict", {"instances": rows})
        assert status == 200
        assert answer["predictions"] == served.model.predict(served.data.head(8)).tolist()
        expected = served.model.predict_proba(served.data.head(8)).tolist()
        assert answer["probabilities"] == [pytest.approx(row) for row in expected]
        assert (answer["model_name"], answer["model_version"], answer["classes"]) == ("churn", 7, [False, True])
        assert len(set(answer["request_ids"])) == 8
        assert answer["request_ids"][0] == answer["request_id"]

    def test_one_object_columns_lists_and_bare_rows_mean_the_same(self, client: lab.Client) -> None:
        reversed_ = list(FEATURES)[::-1]
        bodies = [
            FEATURES,
            [FEATURES],
            {"instances": [list(FEATURES.values())]},
            {"columns": reversed_, "data": [[FEATURES[name] for name in reversed_]]},
        ]
        answers = [client.post("/predict", body) for body in bodies]
        assert [status for status, _ in answers] == [200] * 4
        assert len({json.dumps(answer["probabilities"]) for _, answer in answers}) == 1

    def test_nullable_features_may_be_null_or_absent(self, client: lab.Client) -> None:
        null = client.post("/predict", FEATURES | {"charge": None})
        absent = client.post("/predict", {k: v for k, v in FEATURES.items() if k != "charge"})
        assert null[0] == absent[0] == 200
        assert null[1]["probabilities"] == absent[1]["probabilities"]

    def test_numbers_may_be_written_either_way(self, client: lab.Client) -> None:
        first = client.post("/predict", FEATURES | {"tenure": 12.0, "charge": 70, "active": 1})
        second = client.post("/predict", FEATURES | {"charge": 70.0})
        assert first[0] == second[0] == 200
        assert first[1]["probabilities"] == second[1]["probabilities"]


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "feature", "message"),
        [
            ({"tenure": None}, "tenure", "is null"),
            ({"tenure": "12"}, "tenure", "must be an integer, and is the string '12'"),
            ({"tenure": 1.5}, "tenure", "must be an integer"),
            ({"tenure": 2**63}, "tenure", "must be an integer"),
            ({"charge": True}, "charge", "must be a number, and is true"),
            ({"plan": 3}, "plan", "must be a string"),
            ({"active": "yes"}, "active", "must be true or false"),
            ({"active": 2}, "active", "must be true or false"),
            ({"tenur": 1}, "tenur", 'did you mean "tenure"?'),
            ({"plan": {"a": 1}}, "plan", "is an object"),
        ],
    )
    def test_a_wrong_feature_is_named(
        self, client: lab.Client, change: dict[str, Any], feature: str, message: str
    ) -> None:
        status, answer = client.post("/predict", {"instances": [FEATURES, FEATURES | change]})
        assert status == 422
        assert answer["feature"] == feature
        assert answer["problems"][0]["row"] == 1
        assert message in answer["error"]
        assert uuid.UUID(answer["request_id"])

    def test_a_missing_feature_is_named(self, client: lab.Client) -> None:
        status, answer = client.post("/predict", {"instances": [{"tenure": 1, "active": True}]})
        assert status == 422
        assert answer["error"].startswith('Row 0: feature "plan" is missing')

    @pytest.mark.parametrize(
        ("body", "status", "message"),
        [
            (b"{", 400, "not JSON"),
            (b'{"tenure": NaN}', 400, "not JSON"),
            (b'{"tenure": 1e999}', 400, "infinity"),
            (b"\xff\xfe", 400, "not JSON"),
            (b"3", 422, "must be a list of rows"),
            (b"[]", 422, "no rows"),
            (b'{"instances": {}}', 422, "must be a list"),
            (b'{"instances": [3]}', 422, "must be an object"),
            (b'{"instances": [[1, 2]]}', 422, "must be a list of 4 values"),
            (b'{"instances": [], "parameters": {}}', 422, '"parameters" is not part of a request'),
            (b'{"columns": ["tenure", "tenure"], "data": [[1, 1]]}', 422, "twice"),
            (b'{"columns": ["tenur"], "data": [[1]]}', 422, 'did you mean "tenure"'),
        ],
    )
    def test_a_body_that_is_no_request(self, client: lab.Client, body: bytes, status: int, message: str) -> None:
        found, answer = client.post("/predict", body)
        assert (found, message in answer["error"]) == (status, True), answer

    def test_too_many_rows(self, client: lab.Client) -> None:
        status, answer = client.post("/predict", {"instances": [FEATURES] * 51})
        assert (status, "at most 50" in answer["error"]) == (422, True)

    @pytest.mark.parametrize("size", [100_001, 5_000_000])
    def test_a_body_too_large(self, client: lab.Client, size: int) -> None:
        status, answer = client.post("/predict", b" " * size)
        assert (status, "larger than 100000 bytes" in answer["error"]) == (413, True)
        assert client.post("/predict", FEATURES)[0] == 200

    def test_a_body_that_never_ends_is_given_up(self, served: Any) -> None:
        parts = urlsplit(served.url)
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as sock:
            sock.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
            began = time.monotonic()
            assert sock.recv(100).startswith(b"HTTP/1.1 408")
            assert 1.5 < time.monotonic() - began < 6

    def test_other_paths_and_methods(self, client: lab.Client) -> None:
        assert client.get("/predict")[0] == 405
        assert client.response_headers["allow"] == "POST"
        status, answer = client.get("/v2/models/chrun")
        assert (status, 'did you mean "churn"' in answer["error"]) == (404, True)
        status, answer = client.post("/v2/models/churn/versions/6/infer", {})
        assert (status, "this is version 7" in answer["error"]) == (404, True)
        assert client.get("/favicon.ico")[0] == 404
        assert client.ask("POST", "/predict", b"x", {"content-encoding": "gzip"})[0] == 415


class TestOpenInferenceProtocol:
    def tensors(self, rows: int = 2) -> list[dict[str, Any]]:
        datatypes = {"tenure": "INT32", "charge": "FP32", "plan": "BYTES", "active": "BOOL"}
        return [
            {"name": name, "shape": [rows, 1], "datatype": datatypes[name], "data": [value] * rows}
            for name, value in FEATURES.items()
        ]

    def test_one_tensor_for_each_feature(self, client: lab.Client) -> None:
        status, answer = client.post("/v2/models/churn/infer", {"id": "my-7", "inputs": self.tensors()})
        plain = client.post("/predict", FEATURES)[1]
        assert status == 200
        assert (answer["id"], answer["model_name"], answer["model_version"]) == ("my-7", "churn", "7")
        predict, proba = answer["outputs"]
        assert predict == {"name": "predict", "shape": [2], "datatype": "BOOL", "data": plain["predictions"] * 2}
        assert (proba["name"], proba["shape"], proba["datatype"]) == ("predict_proba", [2, 2], "FP64")
        assert proba["data"] == pytest.approx(plain["probabilities"][0] * 2)

    def test_a_client_chooses_outputs_and_version(self, client: lab.Client) -> None:
        body = {"inputs": self.tensors(1), "outputs": [{"name": "predict_proba"}]}
        status, answer = client.post("/v2/models/churn/versions/7/infer", body)
        assert (status, [item["name"] for item in answer["outputs"]]) == (200, ["predict_proba"])

    @pytest.mark.parametrize(
        ("body", "status", "message"),
        [
            ({}, 400, '"inputs"'),
            ({"inputs": [{"shape": [1]}]}, 400, '"name"'),
            ({"inputs": [{"name": "a", "shape": [1], "datatype": "FP46", "data": [1]}]}, 400, 'did you mean "FP64"'),
            ({"inputs": [{"name": "a", "shape": [3], "datatype": "FP64", "data": [1]}]}, 400, "means 3 values"),
            ({"inputs": [{"name": "a", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}, 422, "[rows, 4]"),
            ({"inputs": [{"name": "tenure", "shape": [1], "datatype": "FP64", "data": [1.5]}]}, 422, '"tenure"'),
            ({"id": 3, "inputs": [{}]}, 400, '"id"'),
        ],
    )
    def test_wrong_requests(self, client: lab.Client, body: dict[str, Any], status: int, message: str) -> None:
        found, answer = client.post("/v2/models/churn/infer", body)
        assert (found, message in answer["error"]) == (status, True), answer

    def test_metadata_and_health(self, client: lab.Client) -> None:
        assert client.get("/v2/health/live") == (200, {"live": True})
        assert client.get("/v2/health/ready") == (200, {"ready": True})
        assert client.get("/v2/models/churn/ready") == (200, {"name": "churn", "ready": True})
        assert client.get("/v2")[1]["name"] == "windsock"
        metadata = client.get("/v2/models/churn")[1]
        assert (metadata["name"], metadata["versions"], metadata["platform"]) == ("churn", ["7"], "sklearn")
        assert [item["datatype"] for item in metadata["inputs"]] == ["INT64", "FP64", "BYTES", "BOOL"]


class TestRequestIds:
    def test_a_clients_uuid_is_kept_and_other_text_is_mapped(self, client: lab.Client, served: Any) -> None:
        given = str(uuid.uuid4())
        _, answer = client.post("/predict", FEATURES, {"x-request-id": given})
        assert answer["request_id"] == client.response_headers["x-request-id"] == given
        row = logged(served, given)
        assert (row["model"], row["version"], row["features"]) == ("churn", 7, FEATURES)
        assert row["prediction"] == answer["predictions"][0]
        assert row["score"] == answer["probabilities"][0][1]
        _, answer = client.post("/predict", FEATURES, {"x-request-id": "order 12"})
        assert uuid.UUID(answer["request_id"]).version == 5
        assert logged(served, "order 12")["request_id"] == answer["request_id"]

    def test_every_row_of_a_request_is_found(self, client: lab.Client, served: Any) -> None:
        rows = [FEATURES | {"tenure": n} for n in range(5)]
        _, answer = client.post("/predict", {"instances": rows})
        for n, request_id in enumerate(answer["request_ids"]):
            assert logged(served, request_id)["features"]["tenure"] == n

    def test_refusals_are_logged_as_errors(self, client: lab.Client, served: Any) -> None:
        _, answer = client.post("/predict", FEATURES | {"plan": 1})
        row = logged(served, answer["request_id"])
        assert row["error"] == answer["error"]
        assert row["prediction"] is None
        assert set(row["features"].values()) == {None}


class TestMetrics:
    def test_exactly_two_metrics_and_they_count(self, client: lab.Client) -> None:
        def counts() -> tuple[float, float]:
            return (
                metric(client, "model_predictions_total"),
                metric(client, "model_prediction_latency_seconds_count"),
            )

        predictions, requests = counts()
        client.post("/predict", {"instances": [FEATURES] * 3})
        client.post("/predict", FEATURES)
        client.post("/predict", FEATURES | {"plan": 1})
        assert counts() == (predictions + 4, requests + 2)
        _, text = client.get("/metrics")
        kinds = {line.split()[2]: line.split()[3] for line in text.splitlines() if line.startswith("# TYPE")}
        assert kinds == {"model_predictions_total": "counter", "model_prediction_latency_seconds": "histogram"}
        assert 'model_predictions_total{model_name="churn",version="7"}' in text

    def test_open_metrics_when_asked(self, client: lab.Client) -> None:
        client.ask("GET", "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert client.response_headers["content-type"].startswith("application/openmetrics-text")


class TestPage:
    def test_its_curl_command_works(self, client: lab.Client) -> None:
        import html
        import re
        import subprocess

        status, page = client.get("/")
        assert status == 200
        assert "<h1>churn</h1>" in page
        assert all(f"<code>{name}</code>" in page for name in FEATURES)
        command = html.unescape(re.search(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL).group(1))  # type: ignore[union-attr]
        answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        assert json.loads(answer.stdout)["model_name"] == "churn"


class TestConcurrency:
    def test_answers_belong_to_their_requests(self, served: Any) -> None:
        """Forty clients at once, some with rows that the batch must not fail for."""
        rows = [FEATURES | {"tenure": n % 24, "charge": float(n)} for n in range(400)]
        expected = served.model.predict_proba(pd.DataFrame(rows))[:, 1].tolist()
        local = threading.local()

        def ask(n: int) -> tuple[int, Any]:
            if not hasattr(local, "client"):
                local.client = lab.Client(served.url)
            if n % 7 == 0:
                return n, local.client.post("/predict", rows[n] | {"plan": None})
            return n, local.client.post("/predict", rows[n])

        with ThreadPoolExecutor(40) as pool:
            for n, (status, answer) in pool.map(ask, range(400)):
                if n % 7 == 0:
                    assert status == 422
                else:
                    assert status == 200
                    assert answer["probabilities"][0][1] == pytest.approx(expected[n], abs=1e-12)

    def test_keep_alive_answers_without_a_stall(self, client: lab.Client) -> None:
        client.get("/v2/health/live")
        times = []
        for _ in range(200):
            began = time.perf_counter()
            client.get("/v2/health/live")
            times.append(time.perf_counter() - began)
        assert sorted(times)[100] < 0.02, "40 ms would be Nagle's algorithm waiting for an acknowledgement"
