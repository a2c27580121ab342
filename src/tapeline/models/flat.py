"""Linear model: one softmax layer for a direction."""

from __future__ import annotations

from tapeline.models import How, Point, Rows
from tapeline.models.network import dense as network
from tapeline.models.network.dense import Network, load, predict, save, servable

__all__ = ["Section", "fit", "load", "predict", "save", "servable"]


class Section(network.Section):
    """The keys of `model=flat`."""


def fit(section: Section, rows: Rows, how: How) -> tuple[Network, list[Point]]:
    """Train the layer."""
    return network.fit((), section, rows, how)
