"""LightGBM's own distributed learner: histograms of all workers are summed, so that each grows the same trees.

With `pre_partition` each worker has its own rows, and finds the bins of its part of the features from them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tapeline import workers
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
    try:
        with workers.silenced():
            yield
    except lightgbm.basic.LightGBMError as error:
        if not any(word in str(error).lower() for word in ("socket", "connect", "port", "machine")):
            raise
        raise workers.lost(machines.rank, machines.addresses, str(error)) from None
