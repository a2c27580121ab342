"""Datasets: one module each, found by `dataset.name`. Add one by writing `<name>.py` with

    TASK                        "direction" or "regression"
    HORIZON                     rows (times) behind its own into which a row's label reaches
    Section                     its keys, a config.Dataset
    simulate(seed)              raw data, of the real schema, without network
    ingest(section, frame, where)   raw data checked, typed, sorted, unique
    table(section, raw)         features, target and time, a Table
    baselines(table)            naive predictions for every row, by name
    served(names)               optional: what a client may send instead of these features, an Input
    series(section, raw)        optional: what people look at before any feature, a Series

and conf/dataset/<name>.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np

from tapeline.config import Dataset, module
from tapeline.datasets.table import Table
from tapeline.features.overview import Series, of_series, of_table
from tapeline.features.served import Input

Array = np.ndarray[Any, Any]


class Kind(Protocol):
    """What the module of a dataset offers."""

    TASK: str
    HORIZON: int

    def simulate(self, seed: int) -> Any:
        """A polars frame."""

    def ingest(self, section: Any, frame: Any, where: str) -> Any:
        """A polars frame; `where` names its origin in refusals."""

    def table(self, section: Any, raw: Any) -> Table:
        """What models learn from."""

    def baselines(self, table: Table) -> Mapping[str, Array]:
        """Predictions, in the table's order, that need no training."""


def kind(dataset: Dataset) -> Kind:
    """The module of a dataset."""
    return cast(Kind, module("datasets", dataset.name, "dataset.name"))


def served(name: str, features: Sequence[str]) -> tuple[Input, ...]:
    """What the dataset of that name lets clients send instead of these features."""
    offer = getattr(module("datasets", name, "dataset.name"), "served", None)
    return (offer(features),) if offer else ()


def overview(dataset: Dataset, raw: Any, table: Table) -> dict[str, Any]:
    """What the data is like, for reports: the dataset's series, where it offers some, and its table."""
    offer = getattr(kind(dataset), "series", None)
    shown: Series | None = offer(dataset, raw) if offer else None
    told = of_table(table.time, table.names, table.features, table.target, table.about["task"])
    return {**({"series": of_series(shown)} if shown else {}), "table": told}
