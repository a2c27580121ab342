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

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tapeline.tables.table import Table

Array = np.ndarray[Any, Any]


class Kind(Protocol):
    """What the module of a dataset offers."""

    TASK: str
    HORIZON: int

    def simulate(self, seed: int) -> Any:
        """A polars frame."""

    def ingest(self, section: Any, frame: Any, where: str) -> Any:
        """A polars frame, from the LazyFrame of a source; `where` names its origin in refusals."""

    def table(self, section: Any, raw: Any) -> Table:
        """What models learn from."""

    def baselines(self, table: Table) -> Mapping[str, Array]:
        """Predictions, in the table's order, that need no training."""
