"""Images per second of the convolutional network's loop beside Keras' Model.fit, and seconds of a trial of a search.

And the memory and seconds that `ingest` takes for as many rows as Kaggle's training.csv has.

    python -m benchmarks conv

Both sides have the same layers, loss, batch and threads, and images that are not changed. Each measurement is a
process of its own and the rounds alternate; compilation is left out. Trials are measured beside KerasTuner where it is
installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS, WARM, STEPS, BATCH, THREADS = 5, 20, 80, 16, 2
TRIALS = 3
LEAST = 1.2
"""Ours over Keras."""
ROWS, LIMIT = 7049, 1024
"""Of Kaggle's table; MiB at the peak."""
WIDTHS = (8, 16, 32, 64)
STILL = ("model.flips=false", "model.shifts=0", "model.turns=0", "model.zooms=0", "model.dropout=0")
SIDES = ("ours", "keras")

Array = np.ndarray[Any, Any]


def main() -> None:
    """Print medians and ratios."""
    _compare("images", "images/s", LEAST)
    if importlib.util.find_spec("keras_tuner"):
        _compare("trial", "s a trial", None)
    else:
        print("  trial: KerasTuner is not installed here (pip install keras-tuner), so there is nothing beside ours")
    reading()


def reading() -> None:
    """A CSV file of drawn faces, read by the step ingest in a process of its own."""
    import polars as pl

    from tapeline.datasets.faces.shape import IMAGE
    from tapeline.datasets.faces.simulation import simulate

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.csv"
        with open(path, "w", encoding="utf-8") as file:
            for first in range(0, ROWS, 500):
                frame = simulate(first, min(500, ROWS - first))
                texts = [" ".join(map(str, np.frombuffer(each, np.uint8))) for each in frame[IMAGE].to_list()]
                file.write(frame.with_columns(pl.Series(IMAGE, texts)).write_csv(include_header=not first))
        size = path.stat().st_size / 1e6
        line = [
            "step",
            "ingest",
            "dataset=faces",
            "dataset.source=csv",
            f"dataset.path={path}",
            "--out",
            f"raw={folder}/raw",
        ]
        command = [sys.executable, "-c", "import resource, sys, time; from tapeline.cli.main import main; "
                   "code = main(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "
                   "time.process_time()); sys.exit(code)", *line]  # fmt: skip
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peak, seconds = map(float, done.stdout.splitlines()[-1].split())
    record = f"{peak / 1024:,.0f} MiB at the peak (limit {LIMIT}), {seconds:.1f} s of CPU"
    print(f"  ingest of {ROWS:,} rows, {size:,.0f} MB: {record}")


def _compare(what: str, unit: str, least: float | None) -> None:
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(ROUNDS):
        for side in SIDES:
            found[side].append(_measured(what, side))
    pairs = zip(found["ours"], found["keras"], strict=True)
    ratio = statistics.median(ours / other if least else other / ours for ours, other in pairs)
    for side, each in found.items():
        print(f"  {what} {side:6}{statistics.median(each):10.2f} {unit} ({min(each):.2f} to {max(each):.2f})")
    wanted = f", at least {least} wanted" if least else ""
    print(f"  {what}: ours is {ratio:.2f} times as fast{wanted}; load {os.getloadavg()[0]:.1f}")


def _measured(what: str, side: str) -> float:
    command = [sys.executable, "-m", "benchmarks.conv", what, side]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(json.loads(done.stdout.splitlines()[-1]))


def faces(rows: int) -> tuple[Array, Array]:
    """Drawn faces: uint8 [rows, 96, 96] and coordinates [rows, 30], NaN where missing."""
    from tapeline.datasets.faces.shape import IMAGE, LABELS
    from tapeline.datasets.faces.simulation import simulate

    frame = simulate(0, rows)
    images = np.frombuffer(b"".join(frame[IMAGE].to_list()), np.uint8).reshape(rows, 96, 96)
    return images, frame.select(LABELS).to_numpy()


def images_ours() -> float:
    """Between the first call of the loop, which compiles, and the last."""
    from tapeline import lookup
    from tapeline import tensorflow as tf
    from tapeline.datasets.faces.shape import LABELS
    from tapeline.models import Rows, Training, conv
    from tapeline.models.network import minibatch

    tf.load(THREADS)
    minibatch.CALL_STEPS = WARM
    steps = WARM + STEPS + 1
    keys = [f"model.steps={steps}", f"model.report_every={steps}", f"model.batch_rows={BATCH}", *STILL]
    section: Any = lookup.configure(["experiment=faces_conv", "model.patience=null", *keys]).model
    moments: dict[int, float] = {}

    def report(step: int, score: float) -> None:
        moments[step] = time.perf_counter()

    training = Training(lookup.task("keypoints"), 0, report, outputs=LABELS)
    conv.fit(section, Rows(*faces(200)), None, training)
    return BATCH * STEPS / (moments[WARM + STEPS] - moments[WARM])


def network(rate: float = 0.003) -> Any:
    """The same layers in Keras."""
    import tensorflow as tf

    layers, side = tf.keras.layers, 96 >> len(WIDTHS)
    at = (2 * np.arange(side, dtype=np.float32) + 1) / side - 1
    grid = np.stack([np.tile(at, side), np.repeat(at, side)], axis=1)

    def standardised(images: Any) -> Any:
        values = tf.cast(images, tf.float32)[..., None]
        mean, variance = tf.nn.moments(values, [1, 2, 3], keepdims=True)
        return (values - mean) / tf.sqrt(variance + 1.0)

    def places(maps: Any) -> Any:
        shares = tf.nn.softmax(tf.reshape(maps, [-1, side * side, 15]), axis=1)
        return tf.reshape(tf.einsum("rsp,sc->rpc", shares, grid), [-1, 30])

    def loss(target: Any, answers: Any) -> Any:
        known = tf.math.is_finite(target)
        return tf.reduce_sum(tf.square(tf.where(known, answers - tf.where(known, target, 0.0), 0.0)))

    blocks = []
    for width in WIDTHS:
        blocks += [layers.Conv2D(width, 3, padding="same", use_bias=False), layers.MaxPooling2D()]
        blocks += [layers.BatchNormalization(), layers.ReLU()]
    model = tf.keras.Sequential(
        [
            tf.keras.Input((96, 96), dtype="uint8"),
            layers.Lambda(standardised, output_shape=(96, 96, 1)),
            *blocks,
            layers.Conv2D(15, 1, use_bias=False),
            layers.Lambda(places, output_shape=(30,)),
            layers.Dense(30),
        ]
    )
    model.compile(tf.keras.optimizers.AdamW(rate), loss)
    return model


def _threads() -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def images_keras() -> float:
    """Model.fit after a first one, which compiles."""
    _threads()
    images, target = faces(200)
    rows = np.resize(np.arange(200), STEPS * BATCH)
    model, encoded = network(), ((target - 48) / 48).astype(np.float32)
    model.fit(images[rows[: WARM * BATCH]], encoded[rows[: WARM * BATCH]], batch_size=BATCH, epochs=1, verbose=0)
    begun = time.perf_counter()
    model.fit(images[rows], encoded[rows], batch_size=BATCH, epochs=1, verbose=0)
    return STEPS * BATCH / (time.perf_counter() - begun)


def trial_ours() -> float:
    """Of a search for the learning rate, each trial one pass over 320 rows and a look at 80 validation rows."""
    from tapeline import lookup
    from tapeline import tensorflow as tf
    from tapeline.datasets.faces.shape import LABELS
    from tapeline.models import Rows, Training, conv

    tf.load(THREADS)
    images, target = faces(400)
    begun = time.perf_counter()
    for trial in range(TRIALS):
        keys = ["model.steps=20", "model.report_every=20", f"model.learning_rate={0.001 * (trial + 1)}", *STILL]
        section: Any = lookup.configure(["experiment=faces_conv", "model.patience=null", *keys]).model
        training = Training(lookup.task("keypoints"), 0, lambda *_: None, outputs=LABELS)
        conv.fit(section, Rows(images[:320], target[:320]), Rows(images[320:], target[320:]), training)
    return (time.perf_counter() - begun) / TRIALS


def trial_keras() -> float:
    """The same by KerasTuner's random search."""
    keras_tuner: Any = importlib.import_module("keras_tuner")
    _threads()
    images, target = faces(400)
    encoded = np.nan_to_num(((target - 48) / 48).astype(np.float32))
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.RandomSearch(
            lambda choice: network(choice.Float("rate", 0.001, 0.01)),
            objective="val_loss",
            max_trials=TRIALS,
            directory=folder,
        )
        begun = time.perf_counter()
        tuner.search(
            images[:320],
            encoded[:320],
            batch_size=BATCH,
            epochs=1,
            validation_data=(images[320:], encoded[320:]),
            verbose=0,
        )
        return (time.perf_counter() - begun) / TRIALS


if __name__ == "__main__":
    print(json.dumps(globals()["_".join(sys.argv[1:3])]()))
