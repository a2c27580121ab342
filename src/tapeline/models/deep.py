"""Dense ReLU layers before a linear one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from tapeline.errors import refuse
from tapeline.models import Point, Rows, Training
from tapeline.models.network import dense as network
from tapeline.models.network.dense import Network, load, predict, save, servable, supports

__all__ = ["Section", "fit", "load", "predict", "save", "servable", "supports"]


class Section(network.Section):
    """The keys of `model=deep`: either `hidden`, or `first`, `decay` and `depth`."""

    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False, min_length=1)] | None
    """Widths of the hidden layers, from the input to the output."""
    first: Annotated[int, Field(ge=1)] | None
    """Width of the first hidden layer."""
    decay: Annotated[float, Field(gt=0, le=1)] | None
    """Width of a layer, relative to the one before it."""
    depth: Annotated[int, Field(ge=1, le=100)] | None
    """Number of hidden layers."""

    @model_validator(mode="after")
    def _one_way(self) -> Section:
        shape = {"first": self.first, "decay": self.decay, "depth": self.depth}
        given = [name for name, value in shape.items() if value is not None]
        missing = [name for name, value in shape.items() if value is None]
        if self.hidden is not None and given:
            what = f"the widths are set, too, and {_keys(given)} would set them again"
            fix = "set model.hidden=null" if not missing else f"leave out {_keys(given)}, as in model.{given[0]}=null"
            raise refuse(f"model.hidden={list(self.hidden)}", what, fix)
        if self.hidden is None and missing:
            fix = "set model.first=256 model.decay=0.7 model.depth=3, or widths, as in model.hidden=[50,25]"
            raise refuse(_keys(missing), "no width of a hidden layer follows without it", fix)
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers, from the input to the output: max(2, int(first * decay**i))."""
        if self.hidden is not None:
            return self.hidden
        first, decay, depth = self.first or 0, self.decay or 0.0, self.depth or 0
        return tuple(max(2, int(first * decay**layer)) for layer in range(depth))


def _keys(names: Sequence[str]) -> str:
    return ", ".join(f"model.{name}" for name in names)


def fit(section: Section, train: Rows, validation: Rows | None, training: Training) -> tuple[Network, list[Point]]:
    """Train the layers."""
    return network.fit(section.widths, section, train, validation, training)
