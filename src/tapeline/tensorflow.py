"""TensorFlow, loaded once, quiet, with a fixed number of threads."""

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
    """The module `tensorflow`. The first call of a process fixes the threads: XLA's sums depend on them.

    Args:
        threads: what is needed; None takes whatever is fixed already, or 1.

    Raises:
        Refused: another number is fixed already.
    """
    tensorflow, fixed = _first_load(threads or DEFAULT_THREADS) if not _loaded else _loaded[0]
    if threads not in (None, fixed):
        raise refuse(
            f"hw.threads={threads}", f"TensorFlow runs with {fixed} in this process already",
            "use one number in all jobs of a sweep",
        )  # fmt: skip
    return tensorflow


DEFAULT_THREADS = 1
_loaded: list[tuple[Any, int]] = []


def _first_load(threads: int) -> tuple[Any, int]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    _loaded.append((tensorflow, threads))
    return _loaded[0]


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out the two lines that TensorFlow's libraries write when XLA first compiles.

    They come before absl's logging starts, so no level stops them; other lines on standard error stay.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            noise = (b"absl::InitializeLog()", b"Compiled cluster using XLA")
            lines = (line for line in caught if not any(each in line for each in noise))
            os.write(2, b"".join(lines))


def device(threads: int, driver: str | None, *, required: bool) -> str:
    """Say where training runs: gpu where the profile has one and TensorFlow sees it, else cpu.

    Args:
        threads: as `load`.
        driver: releases of NVIDIA's driver that the profile's card needs; None where the profile has no card.
        required: fail where TensorFlow sees no GPU.

    Raises:
        Refused: it is required and TensorFlow sees none.
    """
    tf = load(threads)
    if driver is None:
        tf.config.set_visible_devices([], "GPU")
        return "cpu"
    if tf.config.list_physical_devices("GPU"):
        return "gpu"
    if required:
        problem = f"TensorFlow {tf.__version__} sees no GPU, which takes NVIDIA's driver {driver}"
        raise refuse("hw.required=true", problem, "set hw.required=false to train on the CPU")
    log.info("    TensorFlow %s sees no GPU: this trains on the CPU", tf.__version__)
    return "cpu"
