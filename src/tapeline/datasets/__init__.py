"""Datasets: one module each, found by `dataset.name`. Add one by writing `<name>.py` with

    SPEC                            its task, outputs, horizon and what may be missing, a Spec
    Section                         the schema of its keys, a config.schema.Dataset
    simulate(seed)                  raw data with the real schema, made without network
    ingest(section, frame, where)   raw data with types, checked and sorted, one row for each time; or its parts
    table(section, raw)             the header of the table, and its parts
    baselines(batch, names)         naive predictions for rows of the table, by name
    signatures(manifest)            optional: signatures that take raw data instead of features, SignatureSpecs
    series(section, raw)            optional: the time series that reports show, a Series
    observed(section, raw)          optional: each series as it was delivered, in which defects are looked for: Observed
    newest(section, raw)            optional: as table, with the rows whose label is not known yet, for predict
    model_name(section)             optional: what its models are served as, of the keys as a mapping

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


class DatasetModule(Protocol):
    """The interface of a dataset's module; optional functions are not listed."""

    SPEC: Spec

    def simulate(self, seed: int) -> Any:
        """Raw data as a polars frame; the same seed gives the same frame."""

    def ingest(self, section: Any, frame: Any, where: str) -> Any:
        """Check raw data and give it types: a polars frame; with SPEC.partition the parts, as (id, frame).

        Args:
            section: the dataset's keys.
            frame: the LazyFrame of a source.
            where: the name of the source in error messages.

        Raises:
            Refused: everything that is wrong with the data, by column and row.
        """

    def table(self, section: Any, raw: Any) -> tuple[Manifest, Parts]:
        """The header of the table's manifest, and its parts as (id, frame or frames).

        With SPEC.partition `raw` is a mapping of ids to LazyFrames, else a frame. Then each part of the table follows
        from the part of `raw` with its id alone, and the columns from none.
        """

    def baselines(self, batch: Batch, names: Sequence[str]) -> Mapping[str, Array]:
        """Predictions without training for the rows of a batch, by the baseline's name.

        Args:
            batch: holds the features as `feature`, and each context column by its name.
            names: names of the features, in their order.
        """
