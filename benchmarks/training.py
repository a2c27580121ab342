"""Training steps per second of three ways to train the same networks, on 1,152 rows of 24 features.

Ours; a TensorFlow 1 session loop as the originals had it; Keras' Model.fit. Each measurement is a
process of its own and the rounds alternate, so that the noise of a shared machine falls on all alike.
Ours counts the compilation in; the others are measured warm.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

HIDDEN: dict[str, tuple[int, ...]] = {"flat": (), "deep": (50, 25)}
STEPS = {"ours": 30_000, "session": 6_000, "keras": 150}
ROUNDS = 3
LEAST = {"flat": 6, "deep": 2}
"""Ours over the session loop."""

Array = np.ndarray[Any, Any]


def main() -> None:
    """Print steps per second, and ours over the others, the median of some rounds."""
    measured: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for family in HIDDEN:
            for way in STEPS:
                measured.setdefault((family, way), []).append(_measure(way, family))
    for family in HIDDEN:
        for way in STEPS:
            pairs = zip(measured[family, "ours"], measured[family, way], strict=True)
            ratio = statistics.median(ours / other for ours, other in pairs)
            speed = statistics.median(measured[family, way])
            least = f", at least {LEAST[family]} wanted" if way == "session" else ""
            print(f"  {family:5}{way:8}{speed:9,.0f} steps/s   ours is {ratio:.1f} times{least}")


def _measure(way: str, family: str) -> float:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "benchmarks.training", way, family]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(json.loads(done.stdout.splitlines()[-1]))


def table() -> tuple[Array, Array]:
    """Random returns with the published table's shape: float32 [1152, 24] and classes [1152]."""
    random = np.random.default_rng(0)
    return (0.01 * random.standard_normal((1152, 24))).astype(np.float32), random.integers(0, 2, 1152)


def ours(family: str, steps: int) -> float:
    """Our own fit, its compilation counted in."""
    from tapeline import lookup
    from tapeline.models import Rows, Training

    record = lookup.configure([f"model={family}", f"model.steps={steps}"])
    from tapeline import tensorflow as tf

    tf.device(record.hw.threads, None, required=False)
    begun = time.perf_counter()
    lookup.family(family).fit(
        record.model, Rows(*table()), None, Training(lookup.task("direction"), 0, lambda step, score: None)
    )
    return steps / (time.perf_counter() - begun)


def session(family: str, steps: int) -> float:
    """A session call for each step, the data fed again, as in kubeflow/examples' run_train.py."""
    import tensorflow.compat.v1 as tf

    tf.disable_eager_execution()
    x, classes = table()
    y = np.eye(2, dtype=np.float32)[classes]
    features, labels = tf.placeholder("float", [None, 24]), tf.placeholder("float", [None, 2])
    values, sizes = features, [24, *HIDDEN[family], 2]
    for layer in range(len(sizes) - 1):
        weights = tf.Variable(tf.truncated_normal(sizes[layer : layer + 2], stddev=0.0001))
        biases = tf.Variable(tf.ones([sizes[layer + 1]]))
        values = tf.matmul(tf.nn.relu(values) if layer else values, weights) + biases
    cost = -tf.reduce_sum(labels * tf.log(tf.nn.softmax(values)))
    train = tf.train.AdamOptimizer(learning_rate=0.0001).minimize(cost)
    with tf.Session() as running:
        running.run(tf.global_variables_initializer())
        for step in range(steps + 50):
            if step == 50:
                begun = time.perf_counter()
            running.run(train, feed_dict={features: x, labels: y})
        return float(steps / (time.perf_counter() - begun))


def keras(family: str, steps: int) -> float:
    """Model.fit with one batch an epoch."""
    import tensorflow as tf

    x, classes = table()
    layers = [tf.keras.layers.Dense(width, activation="relu") for width in HIDDEN[family]]
    model = tf.keras.Sequential([tf.keras.Input((24,)), *layers, tf.keras.layers.Dense(2, activation="softmax")])
    model.compile(tf.keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy")
    model.fit(x, classes, batch_size=len(x), epochs=5, verbose=0)
    begun = time.perf_counter()
    model.fit(x, classes, batch_size=len(x), epochs=steps, verbose=0)
    return steps / (time.perf_counter() - begun)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(
            json.dumps({"ours": ours, "session": session, "keras": keras}[sys.argv[1]](sys.argv[2], STEPS[sys.argv[1]]))
        )
    else:
        main()
