"""LightGBM's own distributed learner: histograms of all workers are summed, so that each grows the same trees.

With `pre_partition` each worker has its own rows, and finds the bins of its part of the features from them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tapeline.errors import Finding, Lost
from tapeline.models import Machines

MINUTES = 2
"""In which workers must reach each other."""


def parameters(machines: Machines) -> dict[str, Any]:
    """The parameters of one worker."""
    return {
        "tree_learner": "data",
        "num_machines": len(machines.addresses),
        "machines": ",".join(machines.addresses),
        "local_listen_port": int(machines.addresses[machines.rank].rpartition(":")[2]),
        "time_out": MINUTES,
        "pre_partition": True,
    }


@contextmanager
def errors(machines: Machines | None) -> Iterator[None]:
    """LightGBM's own lines about connections are not shown, and an error of them is a lost worker.

    Raises:
        Lost: a worker cannot be reached.
    """
    import lightgbm

    if machines is None:
        yield
        return
    lightgbm.register_logger(logging.getLogger("lightgbm"))
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)  # LightGBM writes its errors there, too
        yield
    except lightgbm.basic.LightGBMError as error:
        if not any(word in str(error).lower() for word in ("socket", "connect", "port", "machine")):
            raise
        where = f"hw.workers={len(machines.addresses)}"
        problem = f"worker {machines.rank} lost the others ({', '.join(machines.addresses)}): {error}"
        raise Lost(Finding(where, problem, "run it again")) from None
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
