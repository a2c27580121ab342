"""Prometheus metrics under TF Serving's names."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict

BOUNDS = [10 * 1.8**power for power in range(33)]
"""Microseconds: TF Serving's buckets, up to some 20 minutes."""

Labels = tuple[tuple[str, str], ...]


class Monitoring:
    """Counts of requests and their latencies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Labels, int] = defaultdict(int)
        self._buckets: dict[Labels, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))
        self._sums: dict[Labels, float] = defaultdict(float)

    def record(self, model: str, entrypoint: str, status: str, seconds: float) -> None:
        """Count a predict request.

        Args:
            model: its name.
            entrypoint: GRPC or REST.
            status: gRPC's name, OK where it was answered.
            seconds: from its arrival to its answer.
        """
        micros = seconds * 1e6
        labels = (("model_name", model), ("API", "predict"), ("entrypoint", entrypoint))
        with self._lock:
            self._counts[(("model_name", model), ("status", status))] += 1
            self._buckets[labels][bisect_left(BOUNDS, micros)] += 1
            self._sums[labels] += micros

    def page(self) -> str:
        """The text that Prometheus reads."""
        with self._lock:
            counts, sums = dict(self._counts), dict(self._sums)
            buckets = {labels: list(row) for labels, row in self._buckets.items()}
        lines = ["# TYPE :tensorflow:serving:request_count counter"]
        lines += [f":tensorflow:serving:request_count{{{_text(each)}}} {count}" for each, count in counts.items()]
        lines.append("# TYPE :tensorflow:serving:request_latency histogram")
        for labels, row in buckets.items():
            text, total = _text(labels), 0
            for bound, count in zip([*(f"{bound:g}" for bound in BOUNDS), "+Inf"], row, strict=True):
                total += count
                lines.append(f':tensorflow:serving:request_latency_bucket{{{text},le="{bound}"}} {total}')
            lines.append(f":tensorflow:serving:request_latency_sum{{{text}}} {sums[labels]:.1f}")
            lines.append(f":tensorflow:serving:request_latency_count{{{text}}} {total}")
        return "\n".join(lines) + "\n"


def _text(labels: Labels) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in labels)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
