"""Import TensorFlow once, without its log messages, with a fixed number of threads."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tapeline.errors import refuse

log = logging.getLogger(__name__)


def load(threads: int | None = None) -> Any:
    """The module `tensorflow`. The first call in a process fixes the number of threads: XLA's sums depend on it.

    Args:
        threads: the number of threads; None: the number that is fixed already, or 1.

    Raises:
        Refused: this process has fixed another number.
    """
    tensorflow, fixed = _first_load(threads or DEFAULT_THREADS) if not _loaded else _loaded[0]
    if threads not in (None, fixed):
        raise refuse(
            f"hw.threads={threads}", f"TensorFlow uses {fixed} already in this process",
            f"use the same number in all jobs of a sweep, for example hw.threads={fixed}",
        )  # fmt: skip
    return tensorflow


DEFAULT_THREADS = 1
RETRACING = "triggered tf.function retracing"
"""In TensorFlow's warning about a function that is compiled often: each training of a search or sweep has its own."""
_loaded: list[tuple[Any, int]] = []


def _first_load(threads: int) -> tuple[Any, int]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow

    tensorflow.get_logger().setLevel(logging.WARNING)  # in a notebook it would be INFO
    tensorflow.get_logger().addFilter(lambda record: RETRACING not in record.getMessage())
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    _loaded.append((tensorflow, threads))
    return _loaded[0]


@contextmanager
def quiet() -> Iterator[None]:
    """Remove from standard error the lines that TensorFlow's libraries write when XLA, or a servable, first runs.

    They are written before absl's logging is initialized, so no log level suppresses them. Other lines are kept.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            noise = (b"absl::InitializeLog()", b"Compiled cluster using XLA", b"MLIR V1 optimization pass")
            lines = (line for line in captured if not any(each in line for each in noise))
            os.write(2, b"".join(lines))


def device(threads: int, driver: str | None, *, required: bool) -> str:
    """The device for training: "gpu" where the hardware profile has one and TensorFlow finds it, else "cpu".

    Args:
        threads: as for `load`.
        driver: the releases of NVIDIA's driver that the profile's GPU needs; None: the profile has no GPU.
        required: whether a GPU is required.

    Raises:
        Refused: a GPU is required and TensorFlow finds none.
    """
    tf = load(threads)
    if driver is None:
        tf.config.set_visible_devices([], "GPU")
        return "cpu"
    if tf.config.list_physical_devices("GPU"):
        return "gpu"
    if required:
        problem = f"TensorFlow {tf.__version__} finds no GPU, which needs NVIDIA's driver {driver}"
        raise refuse("hw.required=true", problem, "set hw.required=false to train on the CPU")
    log.info("    TensorFlow %s finds no GPU: training runs on the CPU", tf.__version__)
    return "cpu"
