"""A deployed model's window beside the truth: real prediction log, real label log, real store, real database."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from windsock.provider.artifacts.stores.local import LocalArtifactStore
from windsock.provider.errors import DataUnreadable
from windsock.provider.metadata import Metadata, NewArtifact, NewModelVersion
from windsock.provider.metadata.deployments import Deployment
from windsock.provider.monitoring import metrics
from windsock.provider.monitoring.deployed_performance import check_deployment_performance
from windsock.provider.predictions.labels import record_labels
from windsock.provider.predictions.request_ids import new_request_id
from windsock.provider.predictions.schema import InputSchema
from windsock.provider.predictions.writer import LogSettings, PredictionWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
FEATURES = [{"name": "age", "type": "float"}, {"name": "plan", "type": "string"}]
BINARY = {"task": "classification", "prediction": "int", "classes": [0, 1]}
NAMED = {"task": "classification", "prediction": "string", "classes": ["bird", "cat", "dog"]}
VALUE = {"task": "regression", "prediction": "float"}


class World:
    """A deployed model version and what is known about its predictions."""

    def __init__(self, folder: Path, outputs: dict[str, Any]) -> None:
        self.folder = folder
        self.store = LocalArtifactStore(LocalArtifactStore.Config(path=folder / "store"))
        self.metadata = Metadata.open(f"sqlite:///{folder}/windsock.db")
        self.schema = InputSchema.from_dict({"features": FEATURES, "outputs": outputs})
        artifact = NewArtifact(artifact="m.train", uri="file:///m", digest="blake3:" + "a" * 64, size=1, type="x.Y")
        self.metadata.models.register(
            NewModelVersion(
                model="m",
                artifact=self.metadata.artifacts.record(artifact).ref(),
                input_schema=self.schema.to_dict(),
                source="test",
            )
        )
        record = Deployment(name="live", model="m", version=1, phase="ready", flavor="local")
        self.metadata.deployments.put(record, expected_revision=None, action="deploy", actor="ada")

    def log(
        self, predictions: Sequence[Any], scores: Sequence[Any] | None, *, at: datetime = NOON, features: Any = None
    ) -> list[bytes]:
        clock = at.timestamp()
        spool = self.folder / "spool"
        writer = PredictionWriter(
            self.store, self.schema, model="m", version=1, spool=spool, settings=LogSettings(), clock=lambda: clock
        )
        ids = [new_request_id() for _ in predictions]
        rows = features or [[float(i % 80), "plus" if i % 4 else "basic"] for i in range(len(ids))]
        writer.append(ids, rows, list(predictions), scores, [0.001] * len(ids))
        writer.close()
        return ids

    def tell(self, ids: Sequence[bytes], labels: Sequence[Any], *, at: datetime | None = None, **options: Any) -> None:
        at = at or NOON + timedelta(hours=2)
        rows = [{"request_id": one, "label": label} for one, label in zip(ids, labels, strict=True)]
        record_labels(self.store, "m", rows, at=at, **options)

    def check(self, at: datetime = NOON, **options: Any) -> Any:
        start, end = at - timedelta(hours=1), at + timedelta(hours=1)
        options = {"deployment": "live", "now": end + timedelta(minutes=1), **options}
        return check_deployment_performance(self.metadata, self.store, start=start, end=end, **options)


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(tmp_path, getattr(request, "param", BINARY))
    yield made
    made.metadata.close()


def answers(rows: int, seed: int, shift: float = 0.0) -> tuple[list[int], list[float], list[int]]:
    """(predictions, scores, true values) of a calibrated classifier."""
    random = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(-random.normal(shift, 1.5, rows)))
    return (scores > 0.5).astype(int).tolist(), scores.tolist(), (random.random(rows) < scores).astype(int).tolist()


class TestBinary:
    def test_labels_make_metrics_and_more_labels_a_new_report(self, world: World) -> None:
        predictions, scores, truth = answers(2000, 1)
        ids = world.log(predictions, scores)
        nothing = world.check()
        assert (nothing.rows, nothing.labelled, nothing.mature, dict(nothing.realised)) == (2000, 0, False, {})
        world.tell(ids[:500], truth[:500])
        some = world.check()
        right = np.mean(np.array(predictions[:500]) == np.array(truth[:500]))
        assert (some.labelled, some.mature) == (500, False)
        assert some.realised["accuracy"].value == pytest.approx(right)
        assert world.check().report == some.report  # the same labels: the same report
        world.tell(ids[500:], truth[500:])
        all_of_them = world.check()
        assert (all_of_them.labelled, all_of_them.mature) == (2000, True)
        assert all_of_them.report.id > some.report.id > nothing.report.id
        assert [r.labelled for r in world.metadata.performance.list(deployment="live")] == [2000, 500, 0]
        assert world.metadata.performance.latest(model="m") == all_of_them.report

    def test_a_corrected_label_counts_and_the_first_one_does_not(self, world: World) -> None:
        ids = world.log([1] * 100, [0.9] * 100)
        world.tell(ids, [0] * 100, name="a")
        world.tell(ids[:50], [1] * 50, at=NOON + timedelta(days=1), name="b")
        check = world.check()
        assert check.labelled == 100
        assert check.realised["accuracy"].value == 0.5

    def test_labels_of_other_requests_and_rows_outside_the_window(self, world: World) -> None:
        inside = world.log([1] * 60, [0.9] * 60)
        outside = world.log([0] * 40, [0.1] * 40, at=NOON + timedelta(hours=1, minutes=30))
        world.tell([*inside, *outside, *(new_request_id() for _ in range(50))], [1] * 150)
        check = world.check()
        assert (check.rows, check.labelled) == (60, 60)

    def test_labels_in_other_words(self, world: World) -> None:
        ids = world.log([1, 1, 0, 0, 1], [0.9] * 5)
        for number, (one, label) in enumerate(zip(ids, ["1", True, 0.0, "false", "perhaps"], strict=True)):
            world.tell([one], [label], name=f"n{number}")
        check = world.check()
        assert check.labelled == 4  # "perhaps" is no class
        assert check.realised["accuracy"].value == 1.0

    def test_estimates_until_the_truth_comes(self, world: World) -> None:
        predictions, scores, truth = answers(4000, 2)
        world.tell(world.log(predictions, scores), truth)
        assert world.check().mature
        later = NOON + timedelta(hours=4)
        predictions, scores, truth = answers(4000, 3, shift=1.0)
        world.log(predictions, scores, at=later)
        check = world.check(later)
        assert (check.labelled, dict(check.realised)) == (0, {})
        expected = np.mean(np.array(predictions) == np.array(truth))
        assert check.estimated["accuracy"].value == pytest.approx(expected, abs=0.03)
        assert check.metric("accuracy").kind == "estimated"
        found = {
            (sample.labels["metric"], sample.labels["kind"])
            for family in metrics.registry_of([], metrics.latest_performance(world.metadata)).collect()
            for sample in family.samples
        }
        assert ("accuracy", "estimated") in found

    def test_slices(self, world: World) -> None:
        features = [[float(i % 80), "plus" if i % 4 else "basic"] for i in range(400)]
        ids = world.log([1] * 400, [0.9] * 400, features=features)
        world.tell(ids, [int(plan == "plus") for _, plan in features])
        check = world.check(slices=["plan", "age"])
        report = json.loads(world.store.get_bytes(check.report.report_uri))
        plan = {value: found["metrics"]["accuracy"]["value"] for value, found in report["slices"]["plan"].items()}
        assert plan == {"plus": 1.0, "basic": 0.0}
        ages = report["slices"]["age"]
        assert len(ages) == 4
        assert sum(found["rows"] for found in ages.values()) == 400
        with pytest.raises(DataUnreadable, match='no column "agee"'):
            world.check(slices=["agee"])

    def test_it_is_mature_when_most_labels_would_have_come_by_now(self, world: World) -> None:
        ids = world.log([1] * 400, [0.9] * 400)
        world.tell(ids[:200], [1] * 200, at=NOON + timedelta(hours=3))
        end = NOON + timedelta(hours=1)
        assert not world.check(now=end + timedelta(hours=1)).mature
        assert world.check(now=end + timedelta(hours=4)).mature

    def test_a_window_without_predictions(self, world: World) -> None:
        check = world.check(NOON + timedelta(days=3))
        assert (check.rows, check.report) == (0, None)


class TestOtherModels:
    @pytest.mark.parametrize("world", [NAMED], indirect=True)
    def test_named_classes(self, world: World) -> None:
        random = np.random.default_rng(4)
        truth = random.choice(["bird", "cat", "dog"], 600).tolist()
        predictions = [one if random.random() < 0.8 else "dog" for one in truth]
        scores = [[0.1, 0.1, 0.8]] * 600
        ids = world.log(predictions, scores)
        world.tell(ids, truth)
        check = world.check()
        assert check.realised["accuracy"].value == pytest.approx(np.mean(np.array(truth) == np.array(predictions)))
        assert "f1" in check.realised

    @pytest.mark.parametrize("world", [VALUE], indirect=True)
    def test_values(self, world: World) -> None:
        random = np.random.default_rng(5)
        truth = random.normal(10, 2, 300)
        ids = world.log((truth + 1).tolist(), None)
        world.tell(ids[:150], truth[:150].tolist())
        check = world.check()
        assert (check.rows, check.labelled) == (300, 150)
        assert check.realised["bias"].value == pytest.approx(1.0)
        assert dict(check.estimated) == {}
