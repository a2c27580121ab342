"""Datasets: one module each, found by `dataset.name`. Add one by writing `<name>.py` with

    SPEC                        what it is: its task, outputs, horizon, what may be missing, a Spec
    Section                     its keys, a config.Dataset
    simulate(seed)              raw data, of the real schema, without network
    ingest(section, frame, where)   raw data checked, typed, sorted, unique
    table(section, raw)         the header of its table, and the parts
    baselines(batch, names)     naive predictions for rows of it, by name
    served(names)               optional: what a client may send instead of these features, an Input
    series(section, raw)        optional: what people look at before any feature, a Series

and conf/dataset/<name>.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tapeline.tables.spec import Manifest, Spec
from tapeline.tables.table import Batch
from tapeline.tables.writing import Parts

Array = np.ndarray[Any, Any]


class Kind(Protocol):
    """What the module of a dataset offers."""

    SPEC: Spec

    def simulate(self, seed: int) -> Any:
        """A polars frame."""

    def ingest(self, section: Any, frame: Any, where: str) -> Any:
        """A polars frame, from the LazyFrame of a source; `where` names its origin in refusals."""

    def table(self, section: Any, raw: Any) -> tuple[Manifest, Parts]:
        """What models learn from: the header of its manifest, and its parts."""

    def baselines(self, batch: Batch, names: Sequence[str]) -> Mapping[str, Array]:
        """Predictions for the rows of a batch that need no training.

        Args:
            batch: has the role `feature`, and each context column by name.
            names: of the features.
        """
