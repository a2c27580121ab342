"""Prometheus metrics under TF Serving's names."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

COUNT, LATENCY = ":tensorflow:serving:request_count", ":tensorflow:serving:request_latency"
BOUNDS = [float(f"{10 * 1.8**power:g}") for power in range(33)]
"""Microseconds: TF Serving's buckets, up to some 20 minutes."""

# TF Serving has no series of the times at which others began.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Monitoring:
    """Counts of requests and their latencies."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("model_name", "API", "entrypoint")
        self._count = Counter(COUNT, "Predict requests.", ("model_name", "status"), registry=self._registry)
        self._latency = Histogram(LATENCY, "Microseconds.", labels, registry=self._registry, buckets=BOUNDS)

    def record(self, model: str, entrypoint: str, status: str, seconds: float) -> None:
        """Count a predict request.

        Args:
            model: its name.
            entrypoint: GRPC or REST.
            status: gRPC's name, OK where it was answered.
            seconds: from its arrival to its answer.
        """
        self._count.labels(model, status).inc()
        self._latency.labels(model, "predict", entrypoint).observe(seconds * 1e6)

    def page(self) -> str:
        """The text that Prometheus reads; TF Serving's counter lacks the suffix that the library adds."""
        return generate_latest(self._registry).decode().replace(f"{COUNT}_total", COUNT)
