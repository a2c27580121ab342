"""Several workers make each step together: each has its part of a batch, and gradients are summed over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tapeline import tensorflow as tf
from tapeline import workers
from tapeline.models import Machines

GONE = ("UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError", "UnknownError")
_made: list[Any] = []
"""The strategy of this process: TensorFlow takes one, before its first operation."""


@dataclass(frozen=True)
class Part:
    """What one worker has of each batch: every `workers`-th row, from the one with the number `rank` on."""

    rank: int = 0
    workers: int = 1
    strategy: Any = None

    @property
    def rows(self) -> slice:
        """Of a batch."""
        return slice(self.rank, None, self.workers)

    def drawn(self, draw: Callable[[Any], Any], own: Any, batch: int) -> Any:
        """What `draw` gives for the rows of this part: the same as one worker would draw for them."""
        return draw(own) if self.workers == 1 else draw(batch)[self.rows]

    def run(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """Do it as a worker of the strategy, in which `summed` works; loops stay outside."""
        return self.strategy.run(step, arguments) if self.strategy else step(*arguments)

    def summed(self, values: Sequence[Any]) -> list[Any]:
        """The sum of each over all workers."""
        if not self.strategy:
            return list(values)
        tensorflow = tf.load()
        # as one operation: several could be in another order on another worker
        flat = tensorflow.concat([tensorflow.reshape(each, [-1]) for each in values], 0)
        flat = tensorflow.distribute.get_replica_context().all_reduce("SUM", flat)
        parts = tensorflow.split(flat, [each.shape.num_elements() for each in values])
        return [tensorflow.reshape(part, each.shape) for part, each in zip(parts, values, strict=True)]

    def agreed(self) -> Callable[[float], float]:
        """A function that gives worker 0's number: all must stop at the same step."""
        if not self.strategy:
            return lambda value: value
        tensorflow = tf.load()
        compiled = tensorflow.function(lambda value: self.run(lambda own: self.summed([own])[0], value))
        kind = tensorflow.float64
        return lambda value: float(compiled(tensorflow.constant(0.0 if self.rank else value, kind)))


ALONE = Part()
"""All rows."""


def of(machines: Machines | None) -> Part:
    """The part of this process; it waits for the others."""
    if machines is None:
        return ALONE
    tensorflow = tf.load()
    if not _made:
        options = tensorflow.distribute.experimental
        resolver = tensorflow.distribute.cluster_resolver.SimpleClusterResolver(
            tensorflow.train.ClusterSpec({"worker": list(machines.addresses)}),
            task_type="worker",
            task_id=machines.rank,
            rpc_layer="grpc",
        )
        ring = options.CommunicationOptions(implementation=options.CommunicationImplementation.RING)
        _made.append(tensorflow.distribute.MultiWorkerMirroredStrategy(resolver, ring))
    return Part(machines.rank, len(machines.addresses), _made[0])


@contextmanager
def errors(machines: Machines | None) -> Iterator[None]:
    """TensorFlow's own lines about connections are not shown, and an error of them is a lost worker.

    Raises:
        Lost: a worker cannot be reached.
    """
    if machines is None:
        yield
        return
    errors = tf.load().errors
    try:
        with workers.silenced():
            yield
    except tuple(getattr(errors, name) for name in GONE) as error:
        first = next((line for line in str(error.message).splitlines() if "abort" in line or "onnect" in line), "")
        raise workers.lost(machines.rank, machines.addresses, first or str(error.message)) from None
