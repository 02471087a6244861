"""Drift as metrics: what is exposed, the three ways out, and the alerts, on the real Prometheus and Alertmanager."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_lab import alertmanager, get_json, program, prometheus, pushgateway, wait_for, webhook
from windsock.provider.errors import MonitoringError
from windsock.provider.metadata import Metadata
from windsock.provider.metadata.drift import DriftReport, NewDriftReport
from windsock.provider.metadata.models import NewModelVersion
from windsock.provider.monitoring import dashboard, metrics
from windsock.provider.monitoring.checks import check_against
from windsock.provider.monitoring.profile import build_profile

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = Path(str(files("windsock.provider.monitoring") / "rules.yml"))
DASHBOARD = Path(__file__).parents[2] / "docker/grafana/dashboards/models.json"
NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def metadata(tmp_path: Path) -> Iterator[Metadata]:
    opened = Metadata.open(f"sqlite:///{tmp_path / 'metrics.db'}")
    yield opened
    opened.close()


def table(shift: float, rows: int = 3000) -> pa.Table:
    random = np.random.default_rng(int(shift * 10))
    plan = random.choice(["basic", "plus"], rows, p=[0.7, 0.3])
    return pa.table({"tenure": random.normal(10 + shift, 1, rows), "plan": plan, "prediction": (plan == "plus") * 1.0})


def record(metadata: Metadata, shift: float, *, version: int = 1, hour: int = 0) -> DriftReport:
    """A report of data that moved by ``shift`` standard deviations, as a drift check records it."""
    reference = build_profile(table(0.0), prediction="prediction")
    result = check_against(table(shift), reference)
    return metadata.drift.record(
        NewDriftReport(
            model="churn",
            version=version,
            deployment="churn",
            window_start=NOON + timedelta(hours=hour),
            window_end=NOON + timedelta(hours=hour + 1),
            rows=result.rows,
            drifted=result.drifted,
            drift_share=result.drift_share,
            features={name: feature.to_dict() for name, feature in result.features.items()},
            reasons=list(result.reasons),
            edges_id=result.edges_id,
        )
    )


def register(metadata: Metadata, source: str) -> int:
    artifact = metadata.artifacts.record(_artifact(source))
    return metadata.models.register(NewModelVersion(model="churn", artifact=artifact.ref(), source=source)).version


def _artifact(source: str) -> Any:
    from windsock.provider.metadata.artifacts import NewArtifact

    digest = f"blake3:{source * 64}"
    return NewArtifact(artifact="churn.train", uri=f"file:///{source}", digest=digest, size=1, type="x.Y")


def scraped(text: str) -> dict[tuple[str, ...], float]:
    """``(metric, version, feature or "")`` to value, by the client library's own parser."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, sample.labels.get("version", ""), sample.labels.get("feature", "")] = sample.value
    return found


class TestExposition:
    def test_it_shows_the_newest_report_of_each_version(self, metadata: Metadata) -> None:
        assert [register(metadata, source) for source in "ab"] == [1, 2]
        record(metadata, 1.0, version=1)
        newest = record(metadata, 0.0, version=1, hour=1)
        record(metadata, 1.0, version=2)
        text, content_type = metrics.exposition(metrics.registry_of(metrics.latest_reports(metadata)))
        assert content_type.startswith("text/plain")
        found = scraped(text.decode())
        assert found["model_drift_detected", "1", ""] == 0
        assert found["model_drift_detected", "2", ""] == 1
        assert found["model_drift_rows", "1", ""] == 3000
        assert found["model_drift_last_run_timestamp_seconds", "1", ""] == pytest.approx(newest.created_at.timestamp())
        drift = found["model_feature_drift", "2", "tenure"]
        assert 0.3 < drift < 0.5  # KS of a shift of one sd is 2Φ(1/2) - 1 = 0.383
        assert drift > found["model_feature_drift_threshold", "2", "tenure"] == 0.05
        assert found["model_feature_drift", "2", "plan"] < found["model_feature_drift_threshold", "2", "plan"]
        assert found["model_feature_missing_ratio", "2", "plan"] == 0
        assert found["model_feature_unseen_ratio", "2", "plan"] == 0
        assert 0 <= found["model_prediction_drift", "2", ""] < 0.05

    def test_an_archived_version_is_gone(self, metadata: Metadata) -> None:
        for source in "ab":
            register(metadata, source)
        record(metadata, 0.0, version=1)
        record(metadata, 0.0, version=2)
        metadata.models.archive("churn", 1, actor="ada")
        assert [report.version for report in metrics.latest_reports(metadata)] == [2]

    def test_what_is_no_number_is_left_out(self, metadata: Metadata) -> None:
        report = record(metadata, 0.0)
        report.features["tenure"]["metrics"].update(ks=None, missing=float("nan"))
        names = {(name, feature) for name, feature, _ in metrics.samples(report)}
        assert ("model_feature_drift", "plan") in names
        assert not {("model_feature_drift", "tenure"), ("model_feature_missing_ratio", "tenure")} & names

    def test_only_the_features_that_moved_most_have_series(
        self, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(metrics, "FEATURES", 1)
        report = record(metadata, 1.0)
        assert {feature for _, feature, _ in metrics.samples(report) if feature} == {"tenure"}


class TestTextfile:
    def test_it_is_replaced_as_a_whole(self, metadata: Metadata, tmp_path: Path) -> None:
        path = tmp_path / "collector" / "windsock.prom"
        metrics.write_textfile(path, metrics.registry_of([record(metadata, 1.0)]))
        assert scraped(path.read_text())["model_drift_detected", "1", ""] == 1
        metrics.write_textfile(path, metrics.registry_of([record(metadata, 0.0, hour=1)]))
        assert scraped(path.read_text())["model_drift_detected", "1", ""] == 0
        assert [entry.name for entry in path.parent.iterdir()] == ["windsock.prom"]
        assert path.stat().st_mode & 0o777 == 0o644

    def test_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(MonitoringError, match="cannot be written"):
            metrics.write_textfile(tmp_path / "file" / "x.prom", metrics.registry_of([]))


class TestPushgateway:
    def test_a_version_replaces_itself_and_can_be_forgotten(self, metadata: Metadata, tmp_path: Path) -> None:
        with pushgateway(tmp_path) as url:
            assert metrics.push(url, [record(metadata, 1.0), record(metadata, 0.0, version=2)]) == 2
            metrics.push(url, [record(metadata, 0.0, hour=1)])
            groups = {group["labels"]["version"]: group for group in get_json(f"{url}/api/v1/metrics")["data"]}
            assert {v: _gauge(g, "model_drift_detected") for v, g in groups.items()} == {"1": 0, "2": 0}
            metrics.forget(url, "churn", 2)
            left = [group["labels"]["version"] for group in get_json(f"{url}/api/v1/metrics")["data"]]
            assert left == ["1"]

    def test_nobody_answers(self, metadata: Metadata) -> None:
        with pytest.raises(MonitoringError, match="does not take metrics"):
            metrics.push("http://127.0.0.1:9", [record(metadata, 0.0)], timeout=1)


def _gauge(group: dict[str, Any], name: str) -> float:
    return float(group[name]["metrics"][0]["value"])


class TestRules:
    def test_promtool_runs_their_tests(self) -> None:
        done = subprocess.run(
            [program("promtool"), "test", "rules", str(Path(__file__).with_name("rules_test.yml"))],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def test_every_alert_says_what_to_think_of_it(self) -> None:
        rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
        alerts = [rule for rule in rules if "alert" in rule]
        assert len(alerts) >= 7
        for alert in alerts:
            assert alert["labels"]["severity"] in {"info", "warning", "critical"}, alert["alert"]
            assert alert["annotations"]["summary"], alert["alert"]

    def test_routes_are_valid(self) -> None:
        config = RULES.with_name("alertmanager.yml")
        subprocess.run([program("amtool"), "check-config", str(config)], check=True, capture_output=True)


class TestDashboard:
    def test_the_committed_file_is_the_generated_one(self) -> None:
        assert DASHBOARD.read_text() == dashboard.dashboard_json(), (
            "run: windsock metrics dashboard > " + DASHBOARD.name
        )

    def test_rules_and_panels_name_metrics_that_there_are(self) -> None:
        known = {one.name for one in metrics.METRICS}
        known |= {"model_predictions_total", "model_prediction_latency_seconds_bucket"}
        rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
        for expression in [*dashboard.expressions(), *rules]:
            named = set(re.findall(r"\bmodel_(?!name\b)\w+", expression))
            assert named <= known, expression

    def test_panels_do_not_overlap(self) -> None:
        taken = set()
        for panel in dashboard.dashboard()["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + 8)
            }
            assert not cells & taken, panel["title"]
            assert place["x"] + place["w"] <= 24
            taken |= cells


@pytest.mark.slow
class TestAlerts:
    def test_drift_reaches_a_webhook_and_resolves(self, metadata: Metadata, tmp_path: Path) -> None:
        """Drift check to Pushgateway to Prometheus to Alertmanager to somebody's chat, and back to quiet."""
        with webhook() as (receiver, received), pushgateway(tmp_path) as gateway:
            routes = yaml.safe_load(RULES.with_name("alertmanager.yml").read_text())
            routes["route"].update(group_wait="1s", group_interval="1s")
            routes["receivers"][0]["webhook_configs"][0]["url"] = receiver
            (tmp_path / "routes.yml").write_text(yaml.safe_dump(routes))
            with alertmanager(tmp_path, tmp_path / "routes.yml") as alerts:
                config = {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(RULES)],
                    "alerting": {"alertmanagers": [{"static_configs": [{"targets": [_host(alerts)]}]}]},
                    "scrape_configs": [
                        {"job_name": "drift", "honor_labels": True, "static_configs": [{"targets": [_host(gateway)]}]}
                    ],
                }
                (tmp_path / "prometheus.yml").write_text(json.dumps(config))
                with prometheus(tmp_path, tmp_path / "prometheus.yml") as server:
                    metrics.push(gateway, [record(metadata, 1.0)])
                    fired = wait_for(lambda: _message(received, "firing"), 40, "the alert")
                    assert fired["labels"]["model_name"] == "churn"
                    assert fired["annotations"]["summary"] == "The data of churn version 1 have drifted."
                    self._dashboard_is_understood(server)
                    metrics.push(gateway, [record(metadata, 0.0, hour=1)])
                    wait_for(lambda: _message(received, "resolved"), 40, "the end of the alert")

    def _dashboard_is_understood(self, server: str) -> None:
        """Prometheus' own parser takes each expression, and the drift panels show something."""
        filled = 0
        for expression in dashboard.expressions():
            query = urllib.parse.urlencode({"query": expression})
            answer = get_json(f"{server}/api/v1/query?{query}")
            assert answer["status"] == "success", expression
            filled += bool(answer["data"]["result"])
        assert filled >= 6


def _host(url: str) -> str:
    return url.removeprefix("http://")


def _message(received: list[dict[str, Any]], status: str) -> dict[str, Any] | None:
    for message in received:
        for alert in message["alerts"]:
            if alert["status"] == status and alert["labels"]["alertname"] == "ModelDriftDetected":
                return dict(alert)
    return None
