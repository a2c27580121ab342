"""Trace and scores of a run for TensorBoard: tensorboard --logdir runs."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tapeline import files


def write(metrics: Mapping[str, Any], folder: Path) -> None:
    """Write one event file with scalars `train/...` by step and `test/...` at the last; no TensorFlow needed."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    now, content = time.time(), io.BytesIO()
    records = RecordWriter(content)
    records.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for step, name, value in scalars(metrics):
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        records.write(Event(wall_time=now, step=step, summary=summary).SerializeToString())
    files.write_bytes(folder / f"events.out.tfevents.{int(now)}.tapeline", content.getvalue())


def scalars(metrics: Mapping[str, Any]) -> Iterator[tuple[int, str, float]]:
    """Step, name and value of each point of the trace and of each score."""
    trace = metrics["train"]["trace"]
    last = trace[-1]["step"] if trace else 0
    for point in trace:
        yield point["step"], "train/score", point["score"]
    for part in ("validation", "test"):
        for name, value in ((metrics[part] or {}).get("overall") or {}).items():
            if isinstance(value, float):
                yield last, f"{part}/{name}", value
