"""Prometheus metrics with the names of TF Serving's."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

COUNT, LATENCY = ":tensorflow:serving:request_count", ":tensorflow:serving:request_latency"
BUCKETS = [float(f"{10 * 1.8**power:g}") for power in range(33)]
"""Upper bounds in microseconds: those of TF Serving, up to about 20 minutes."""

# TF Serving has no *_created series.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Monitoring:
    """The number of requests and their latencies."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("model_name", "API", "entrypoint")
        self._count = Counter(COUNT, "Predict requests.", ("model_name", "status"), registry=self._registry)
        self._latency = Histogram(LATENCY, "Microseconds.", labels, registry=self._registry, buckets=BUCKETS)

    def record(self, model: str, entrypoint: str, status: str, seconds: float) -> None:
        """Count a predict request.

        Args:
            model: its name.
            entrypoint: GRPC or REST.
            status: the name of gRPC's status code; OK for a successful request.
            seconds: from the request to the response.
        """
        self._count.labels(model, status).inc()
        self._latency.labels(model, "predict", entrypoint).observe(seconds * 1e6)

    def page(self) -> str:
        """The metrics in Prometheus' text format; the library's suffix _total is removed, as TF Serving has none."""
        return generate_latest(self._registry).decode().replace(f"{COUNT}_total", COUNT)
