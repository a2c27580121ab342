"""Tiny SavedModels, and a running server."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import tensorflow as tf
from tapeline.serving import saved_model
from tapeline.serving.servers import server, worker
from tapeline.serving.servers.manager import Manager
from tapeline.serving.store import location, state

FEATURES = 3


def write(folder: Path, model_version: str, *, bias: float = 0.0, name: str = "m") -> Path:
    """A linear model that predicts class 1 where the sum of the features and the bias is above zero."""
    tensorflow = tf.load()

    class Model(tensorflow.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.bias = tensorflow.Variable(bias, trainable=False)

        def __call__(self, predictors: Any) -> dict[str, Any]:
            score = tensorflow.reduce_sum(predictors, axis=1) + self.bias
            logits = tensorflow.cast(tensorflow.stack([-score, score], axis=1), tensorflow.float64)
            return {
                "prediction": tensorflow.argmax(logits, axis=1, output_type=tensorflow.int64),
                "probability": tensorflow.nn.softmax(logits),
            }

    metadata = {"name": name, "model_version": model_version, "features": ["a", "b", "c"]}
    saved_model.write(Model(), metadata, np.ones((2, FEATURES), np.float32), folder)
    return folder


def write_single(folder: Path) -> None:
    """A SavedModel with signatures that tapeline does not write: one float32 output, and one with two inputs."""
    tensorflow = tf.load()
    module = tensorflow.Module()
    spec = tensorflow.TensorSpec([None], tensorflow.float32, name="x")
    module.half = tensorflow.function(lambda x: {"y": x / 2 + 3}, input_signature=[spec])
    text = tensorflow.TensorSpec([None], tensorflow.string, name="s")

    def both(x: Any, s: Any) -> dict[str, Any]:
        return {"x": x, "s": s, "s_bytes": s}

    module.both = tensorflow.function(both, input_signature=[spec, text])
    signatures = {"serving_default": module.half, "both": module.both}
    tensorflow.saved_model.save(module, str(folder), signatures=signatures)


def pin(folder: Path, **numbers: int) -> None:
    """Pin versions in models.config with one atomic write, as publish does."""
    backend = location.backend(folder)
    before = state.load(backend)
    state.write(backend, replace(before, pins={**before.pins, **numbers}), before.etag)


@contextmanager
def running(poll: Callable[[Manager], None], seconds: float = 0.05) -> Iterator[server.Server]:
    """A server on free ports."""
    started = server.Server(server.ListenAddress("127.0.0.1", 0, 0), Manager(1), poll, seconds)
    try:
        yield started
    finally:
        started.stop()


def http(port: int | None, path: str, body: Any = None) -> tuple[int, Any]:
    """The status and the JSON body of the response to a GET (without body) or POST request."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=300) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until the condition holds; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not hold within {seconds:g} s"
        time.sleep(0.02)


def copies() -> list[tuple[str, int]]:
    """In the process that answers large requests: what it has loaded."""
    return sorted((each.name, each.number) for each in worker._copies)
