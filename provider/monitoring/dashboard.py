"""The Grafana dashboard of served models: traffic, latency, drift and performance.

Made here and not drawn in Grafana, so that it knows exactly the metrics that there are: a test reads every expression
with Prometheus' own parser and compares the names with the metric table.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

UID = "windsock-models"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_MODEL = 'model_name=~"$model",version=~"$version"'
_LATENCY = f"sum by (version, le) (rate(model_prediction_latency_seconds_bucket{{{_MODEL}}}[$__rate_interval]))"


class Panel(NamedTuple):
    title: str
    kind: str
    unit: str
    targets: tuple[tuple[str, str], ...]
    """Pairs of expression and legend."""
    about: str = ""
    width: int = 12


PANELS = (
    Panel(
        "Predictions per second",
        "timeseries",
        "short",
        (
            (
                f"sum by (model_name, version) (rate(model_predictions_total{{{_MODEL}}}[$__rate_interval]))",
                "{{model_name}} {{version}}",
            ),
        ),
        "Rows answered, before the log is sampled.",
    ),
    Panel(
        "Latency",
        "timeseries",
        "s",
        tuple(
            (f"histogram_quantile({q}, {_LATENCY})", f"p{q * 100:g}, version {{{{version}}}}")
            for q in (0.5, 0.95, 0.99)
        ),
        "From a request's headers to the model's answer.",
    ),
    Panel(
        "Drift now",
        "stat",
        "short",
        ((f"model_drift_detected{{{_MODEL}}}", "{{model_name}} {{version}}"),),
        "1: the last check found drift.",
        6,
    ),
    Panel(
        "Age of the last check",
        "stat",
        "s",
        ((f"time() - model_drift_last_run_timestamp_seconds{{{_MODEL}}}", "{{model_name}} {{version}}"),),
        "Grows for ever when the checks have stopped.",
        6,
    ),
    Panel(
        "Share of features that drifted",
        "timeseries",
        "percentunit",
        ((f"model_drift_share{{{_MODEL}}}", "{{model_name}} {{version}}"),),
        "Weighted by importance.",
    ),
    Panel(
        "Features by drift",
        "bargauge",
        "short",
        ((f'topk(15, model_feature_drift{{{_MODEL},feature=~"$feature"}})', "{{feature}}"),),
        "Kolmogorov-Smirnov distance of numbers, total variation of categories.",
    ),
    Panel(
        "Drift over its threshold",
        "timeseries",
        "short",
        (
            (
                f'model_feature_drift{{{_MODEL},feature=~"$feature"}}'
                f' / on (model_name, version, feature) model_feature_drift_threshold{{{_MODEL},feature=~"$feature"}}',
                "{{feature}}, version {{version}}",
            ),
        ),
        "From 1 on it counts as drift.",
    ),
    Panel(
        "Missing and unseen values",
        "timeseries",
        "percentunit",
        (
            (f'topk(10, model_feature_missing_ratio{{{_MODEL},feature=~"$feature"}})', "missing: {{feature}}"),
            (f'topk(10, model_feature_unseen_ratio{{{_MODEL},feature=~"$feature"}})', "unseen: {{feature}}"),
        ),
    ),
    Panel(
        "Performance",
        "timeseries",
        "short",
        ((f"model_performance{{{_MODEL}}}", "{{metric}} ({{kind}}), version {{version}}"),),
        "Realised where true values have come, estimated until then.",
    ),
    Panel(
        "Drift of the predictions",
        "timeseries",
        "short",
        ((f"model_prediction_drift{{{_MODEL}}}", "{{model_name}} {{version}}"),),
    ),
    Panel("Model servers that answer", "stat", "short", (('sum(up{job="model-server"})', "up"),), width=6),
)


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana's JSON model (schema 39, Grafana 10 and later)."""
    panels: list[dict[str, Any]] = []
    x = y = 0
    for number, panel in enumerate(PANELS, start=1):
        if x + panel.width > 24:
            x, y = 0, y + 8
        panels.append(_panel(number, panel, x, y))
        x += panel.width
    return {
        "uid": UID,
        "title": "Windsock: models",
        "tags": ["windsock"],
        "schemaVersion": 39,
        "timezone": "utc",
        "refresh": "10s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "refresh": 1},
                _variable(
                    "model", 'label_values({__name__=~"model_predictions_total|model_drift_detected"}, model_name)'
                ),
                _variable("version", 'label_values({model_name=~"$model"}, version)'),
                _variable("feature", 'label_values(model_feature_drift{model_name=~"$model"}, feature)'),
            ]
        },
        "panels": panels,
    }


def dashboard_json() -> str:
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


def expressions() -> list[str]:
    """Every PromQL expression of the dashboard, with Grafana's variables filled in."""
    filled = {"$__rate_interval": "5m", "$model": ".*", "$version": ".*", "$feature": ".*"}
    found = [expression for panel in PANELS for expression, _ in panel.targets]
    for name, value in filled.items():
        found = [expression.replace(name, value) for expression in found]
    return found


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "title": panel.title,
        "description": panel.about,
        "type": panel.kind,
        "datasource": _SOURCE,
        "gridPos": {"h": 8, "w": panel.width, "x": x, "y": y},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": expression, "legendFormat": legend}
            for i, (expression, legend) in enumerate(panel.targets)
        ],
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _SOURCE,
        "query": query,
        "includeAll": True,
        "multi": True,
        "refresh": 2,
        "current": {"text": "All", "value": "$__all"},
    }
