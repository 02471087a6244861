"""``windsock performance`` from the shell: label, check, list, show."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
from windsock.provider.metadata.deployments import Deployment
from windsock.provider.predictions.request_ids import format_request_id, new_request_id
from windsock.provider.predictions.schema import InputSchema
from windsock.provider.predictions.writer import PredictionWriter
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack


@pytest.fixture
def answered(windsock: Any, trained: Any, tmp_path: Any) -> list[tuple[str, float]]:
    """A deployment of the trained model and 200 requests it answered: request ids and predictions."""
    stack = Stack.load(None, settings=Settings.load())
    version = stack.metadata.models.get("prices", version=1)
    record = Deployment(name="prices", model="prices", version=1, phase="ready", flavor="local")
    stack.metadata.deployments.put(record, expected_revision=None, actor="ada")
    schema = InputSchema.from_dict(version.input_schema)
    moment = datetime.now(timezone.utc).timestamp()
    writer = PredictionWriter(
        stack.artifact_store, schema, model="prices", version=1, spool=tmp_path / "spool", clock=lambda: moment
    )
    ids, answers = [new_request_id() for _ in range(200)], [100.0 + i for i in range(200)]
    rows = [[1.0] * len(schema.names)] * 200
    writer.append(ids, rows, answers, None, [0.001] * 200)
    writer.close()
    return [(format_request_id(one), answer) for one, answer in zip(ids, answers, strict=True)]


class TestPerformance:
    def test_label_check_list_show(self, windsock: Any, answered: list[tuple[str, float]], tmp_path: Any) -> None:
        labels = pa.table({"request_id": [one for one, _ in answered], "label": [answer - 2 for _, answer in answered]})
        pyarrow.csv.write_csv(labels, tmp_path / "labels.csv")
        done = windsock("performance", "label", "prices", str(tmp_path / "labels.csv"))
        assert done.code == 0, done
        found = windsock("performance", "check", "prices", "--output", "json")
        assert found.code == 0, found
        assert found.json["labelled"] == 200
        assert found.json["metrics"]["realised"]["bias"]["value"] == 2.0
        (listed,) = windsock("performance", "list", "--output", "json").json
        assert listed["id"] == found.json["id"]
        shown = windsock("performance", "show", str(listed["id"]))
        assert "bias" in shown.out
        assert "200 have a true value" in shown.out

    def test_nothing_was_asked(self, windsock: Any, answered: Any) -> None:
        assert windsock("performance", "check", "prices", "--hours", "0.000001").code == 4

    def test_what_is_not_there(self, windsock: Any, trained: Any, tmp_path: Any) -> None:
        for words in (
            ("label", "prices", str(tmp_path / "none.parquet")),
            ("label", "nobody", str(tmp_path / "none.parquet")),
            ("check", "nobody"),
            ("show", "99"),
        ):
            done = windsock("performance", *words)
            assert done.code == 1, done
            assert "Traceback" not in done.err
