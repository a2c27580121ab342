"""Dense ReLU layers before a linear one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tapeline.models import Point, Rows, Training
from tapeline.models.network import dense as network
from tapeline.models.network.dense import Network, load, predict, save, servable, supports

__all__ = ["Section", "fit", "load", "predict", "save", "servable", "supports"]


class Section(network.Section):
    """The keys of `model=deep`."""

    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False, min_length=1)]
    """Widths of the hidden layers, from the input on."""


def fit(section: Section, train: Rows, validation: Rows | None, training: Training) -> tuple[Network, list[Point]]:
    """Train the layers."""
    return network.fit(section.hidden, section, train, validation, training)
