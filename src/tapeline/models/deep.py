"""Dense ReLU layers before the softmax."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tapeline.models import How, Point, Rows
from tapeline.models.network import dense as network
from tapeline.models.network.dense import Network, load, predict, save, servable

__all__ = ["Section", "fit", "load", "predict", "save", "servable"]


class Section(network.Section):
    """The keys of `model=deep`."""

    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False, min_length=1)]
    """Widths of the hidden layers, from the input on."""


def fit(section: Section, rows: Rows, how: How) -> tuple[Network, list[Point]]:
    """Train the layers."""
    return network.fit(section.hidden, section, rows, how)
