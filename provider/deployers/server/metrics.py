"""The server's two metrics, and nothing else.

``model_predictions_total{model_name,version}``: rows answered, before sampling.
``model_prediction_latency_seconds{model_name,version}``: one observation for each answered request, from its
headers to the model's answer, the waiting in the queue included; buckets :data:`BUCKETS`.
"""

from __future__ import annotations

from typing import Any

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds; Prometheus adds +Inf."""


class ServerMetrics:
    def __init__(self, model: str, version: int) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        names = ("model_name", "version")
        counter = Counter("model_predictions", "Predictions answered (rows)", names, registry=self._registry)
        latency = Histogram(
            "model_prediction_latency_seconds",
            "Seconds from a request's headers to the model's answer",
            names,
            registry=self._registry,
            buckets=BUCKETS,
        )
        self._predictions: Any = counter.labels(model, str(version))
        self._latency: Any = latency.labels(model, str(version))

    def answered(self, rows: int, latencies: list[float]) -> None:
        self._predictions.inc(rows)
        for seconds in latencies:
            self._latency.observe(seconds)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type, in the format that the scraper asks for."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
