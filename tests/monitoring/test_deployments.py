"""A deployed model's window: real prediction log, real store, real database."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from windsock.provider.artifacts.saving import save
from windsock.provider.artifacts.stores.local import LocalArtifactStore
from windsock.provider.errors import BaselineNotFound, DeploymentNotFound
from windsock.provider.metadata import Metadata
from windsock.provider.metadata.deployments import Deployment
from windsock.provider.metadata.models import NewModelVersion
from windsock.provider.monitoring.deployments import check_deployment_drift
from windsock.provider.monitoring.detector import StatisticalDriftDetector
from windsock.provider.monitoring.profile import build_profile
from windsock.provider.predictions.request_ids import new_request_id
from windsock.provider.predictions.schema import InputSchema
from windsock.provider.predictions.writer import LogSettings, PredictionWriter

SCHEMA = InputSchema.from_dict(
    {
        "features": [
            {"name": "age", "type": "float"},
            {"name": "visits", "type": "int"},
            {"name": "plan", "type": "string"},
            {"name": "active", "type": "bool"},
        ],
        "target": "churned",
        "outputs": {"task": "classification", "prediction": "int", "classes": [0, 1]},
    }
)
NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)


def rows(seed, count, shift=0.0):
    rng = np.random.default_rng(seed)
    return list(
        zip(
            rng.normal(40 + 10 * shift, 10, count).tolist(),
            rng.poisson(3, count).tolist(),
            rng.choice(["basic", "plus"], count, p=[0.7, 0.3]).tolist(),
            (rng.random(count) < 0.4).tolist(),
            strict=True,
        )
    )


def predictions(inputs):
    return [int(age > 50) for age, *_ in inputs]


class World:
    """A model version with a baseline, deployed, and a log to write to."""

    def __init__(self, folder, *, baseline=True):
        self.folder = folder
        self.store = LocalArtifactStore(LocalArtifactStore.Config(path=str(folder / "store")))
        self.metadata = Metadata.open(f"sqlite:///{folder}/windsock.db")
        trained = rows(0, 5000)
        table = pa.table(dict(zip(SCHEMA.names, map(list, zip(*trained, strict=True)), strict=True)))
        table = table.append_column("churned", pa.array(predictions(trained)))
        table = table.append_column("prediction", pa.array(predictions(trained)))
        profile = build_profile(table, target="churned", prediction="prediction")
        self.model = self.metadata.models.register(
            NewModelVersion(
                model="churn",
                artifact=self._ref(b"model"),
                baseline=self._ref(profile.to_bytes()) if baseline else None,
                input_schema=SCHEMA.to_dict(),
                source="test",
            )
        )
        self.metadata.deployments.put(
            Deployment(name="churn-live", model="churn", version=self.model.version, phase="ready", flavor="local"),
            expected_revision=None,
            action="deploy",
            actor="ada",
        )

    def _ref(self, value):
        from windsock.provider.metadata import NewArtifact

        stored = save(value, self.store)
        return self.metadata.artifacts.record(
            NewArtifact(
                artifact=f"test.{stored.digest[-6:]}",
                uri=stored.uri,
                digest=stored.digest,
                size=stored.size,
                type=stored.type,
                materializer=stored.materializer,
                metadata=dict(stored.metadata),
            )
        ).ref()

    def log(self, inputs, at=NOON, settings=None, error=None):
        clock = at.timestamp()
        writer = PredictionWriter(
            self.store,
            SCHEMA,
            model="churn",
            version=self.model.version,
            spool=self.folder / "spool",
            settings=settings or LogSettings(),
            clock=lambda: clock,
        )
        ids = [new_request_id() for _ in inputs]
        if error:
            writer.append_error(ids, error, 0.001)
        else:
            writer.append(
                ids, [list(row) for row in inputs], predictions(inputs), [0.5] * len(inputs), [0.001] * len(inputs)
            )
        writer.close()

    def check(self, start=NOON - timedelta(hours=1), end=NOON + timedelta(hours=1), **options):
        return check_deployment_drift(
            self.metadata, self.store, **({"deployment": "churn-live"} | options), start=start, end=end
        )


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.metadata.close()


class TestCheck:
    def test_quiet_window_is_recorded_and_its_report_stored(self, world):
        world.log(rows(1, 3000))
        check = world.check()
        assert not check.drifted
        report = check.report
        assert (report.model, report.version, report.deployment, report.rows) == ("churn", 1, "churn-live", 3000)
        assert set(report.features) == {"age", "visits", "plan", "active", "prediction"}
        document = json.loads(world.store.get_bytes(report.json_uri))
        assert document["drifted"] is False
        assert document["model_name"] == "churn"
        assert b"No drift." in world.store.get_bytes(report.report_uri)
        assert world.metadata.drift.latest(deployment="churn-live") == report

    def test_drift_says_what_moved(self, world):
        world.log(rows(1, 3000, shift=1.0))
        check = world.check()
        assert check.drifted
        features = check.report.features
        assert features["age"]["status"] == "drift"
        assert "mean moved by +1.0" in features["age"]["reason"]
        assert features["prediction"]["status"] == "drift"
        assert features["visits"]["status"] == "ok"
        assert any("prediction drifted" in reason for reason in check.report.reasons)

    def test_the_same_window_is_recorded_once(self, world):
        world.log(rows(1, 3000))
        first, second = world.check().report, world.check().report
        assert first.id == second.id
        assert len(list(world.store.list("drift/"))) == 2

    def test_refused_requests_are_not_missing_values(self, world):
        world.log(rows(1, 2000))
        world.log(rows(2, 1000), error="age: must be a number")
        check = world.check()
        assert check.result.rows == 2000
        assert not check.drifted
        assert check.result.current.columns["age"].missing == 0

    def test_rows_of_the_same_hour_outside_the_window_do_not_count(self, world):
        world.log(rows(1, 2000), at=NOON + timedelta(minutes=5))
        world.log(rows(2, 700, shift=3.0), at=NOON + timedelta(minutes=40))
        check = world.check(NOON, NOON + timedelta(minutes=30))
        assert check.result.rows == 2000
        assert not check.drifted

    def test_window_without_predictions_is_not_recorded(self, world):
        check = world.check()
        assert check.report is None
        assert check.result.status == "degenerate"
        assert not check.drifted
        assert world.metadata.drift.latest() is None

    def test_features_that_the_server_omits_are_no_schema_change(self, world):
        world.log(rows(1, 2000), settings=LogSettings(omit=("plan",)))
        check = world.check()
        assert not check.drifted
        assert "plan" not in check.report.features
        assert any("not in the prediction log" in note and "plan" in note for note in check.result.notes)

    def test_model_and_version_instead_of_a_deployment(self, world):
        world.log(rows(1, 2000))
        report = world.check(deployment=None, model="churn", version=1).report
        assert report.deployment is None

    def test_detector_of_the_stack_decides(self, world):
        world.log(rows(1, 3000, shift=1.0))
        lenient = StatisticalDriftDetector.from_mapping(
            {
                "threshold": 0.9,
                "thresholds": {"out_of_range": 0.9},
                "features": {"prediction": {"ignore": True}},
                "tests": {"numerical": "ks", "categorical": "tv"},
            }
        )
        assert not world.check(detector=lenient).drifted


class TestErrors:
    def test_model_without_a_baseline(self, tmp_path):
        world = World(tmp_path, baseline=False)
        with pytest.raises(BaselineNotFound, match='"churn" version 1 has no baseline') as caught:
            world.check()
        assert "baseline=train_rows" in caught.value.hint
        world.metadata.close()

    def test_unknown_deployment(self, world):
        with pytest.raises(DeploymentNotFound):
            world.check(deployment="chrun-live")
