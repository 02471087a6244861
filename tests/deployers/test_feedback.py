"""True values over real HTTP: kept before they are acknowledged, joined to what was predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import serving_lab as lab
from windsock.provider.predictions.labels import label_files
from windsock.provider.predictions.request_ids import parse_request_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    home: Path = tmp_path_factory.mktemp("feedback")
    context = lab.context_of(home)
    store = lab.store_of(context)
    deployer = lab.deployer_of(context)
    state = deployer.deploy(lab.linear_request(store, 1))
    yield type("Served", (), {"url": state.url, "store": store, "deployer": deployer})
    deployer.delete("line")


@pytest.fixture
def client(served: Any) -> Iterator[lab.Client]:
    client = lab.Client(served.url)
    yield client
    client.close()


def stored(served: Any) -> dict[bytes, Any]:
    rows = [row for file in label_files(served.store, "line") for row in pq.read_table(file).to_pylist()]
    return {row["request_id"]: row["label"] for row in rows}


class TestFeedback:
    def test_one_and_many(self, served: Any, client: lab.Client) -> None:
        _, answer = client.post("/predict", {"a": 1.0, "b": 2.0})
        request_id = answer["request_id"]
        assert client.post("/feedback", {"request_id": request_id, "label": 104.0}) == (202, {"accepted": 1})
        many = {"labels": [{"request_id": f"r{i}", "label": i} for i in range(100)]}
        assert client.post("/feedback", many) == (202, {"accepted": 100})
        served.deployer.delete("line")  # a server that ends makes everything visible
        found = stored(served)
        assert found[parse_request_id(request_id)] == 104.0
        assert found[parse_request_id("r99")] == 99.0
        assert len(found) == 101
        state = served.deployer.deploy(lab.linear_request(served.store, 1))
        served.url = state.url

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({}, "request_id"),
            ({"labels": []}, "one or more"),
            ({"request_id": 3, "label": 1}, "request_id is to be the text"),
            ({"request_id": "a", "label": {"x": 1}}, "label is to be"),
            ({"labels": [{"request_id": "a", "label": 1}, {"request_id": "b"}]}, "Label 1"),
            ({"labels": [{"request_id": "a", "label": 1}] * 10_001}, "at most 10,000"),
        ],
    )
    def test_what_is_no_label_says_so(self, client: lab.Client, body: Any, said: str) -> None:
        status, answer = client.post("/feedback", body)
        assert status in (413, 422)
        assert said in answer["error"]
