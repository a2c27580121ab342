"""Linear model: one layer."""

from __future__ import annotations

from tapeline.models import Point, Rows, Training
from tapeline.models.network import dense as network
from tapeline.models.network.dense import Network, load, predict, save, servable, supports

__all__ = ["Section", "fit", "load", "predict", "save", "servable", "supports"]


class Section(network.Section):
    """The keys of `model=flat`."""


def fit(section: Section, train: Rows, validation: Rows | None, training: Training) -> tuple[Network, list[Point]]:
    """Train the layer."""
    return network.fit((), section, train, validation, training)
