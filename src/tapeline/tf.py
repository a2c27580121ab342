"""TensorFlow, loaded once, quiet, with a fixed number of threads."""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import Any

from tapeline.config import Accelerator
from tapeline.errors import refuse

log = logging.getLogger(__name__)


@cache
def load(threads: int = 2) -> Any:
    """The module `tensorflow`. The first call of a process fixes the threads: XLA's sums depend on them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


def device(threads: int, accelerator: Accelerator | None, *, required: bool) -> str:
    """Say where training runs: gpu where the profile has one and TensorFlow sees it, else cpu.

    Raises:
        Refused: it is required and TensorFlow sees none.
    """
    tf = load(threads)
    if not accelerator:
        tf.config.set_visible_devices([], "GPU")
        return "cpu"
    if tf.config.list_physical_devices("GPU"):
        return "gpu"
    if required:
        raise refuse(
            "hw.required=true", f"TensorFlow {tf.__version__} sees no GPU", "set hw.required=false to train on the CPU"
        )
    log.info("    TensorFlow %s sees no GPU: this trains on the CPU", tf.__version__)
    return "cpu"
