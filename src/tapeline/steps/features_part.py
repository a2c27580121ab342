"""Features and target of one partition, for a table that `features` puts together.

tapeline step features_part --part 03 --in raw=raw --out table_parts=parts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tapeline.config.schema import Dataset
from tapeline.errors import refuse
from tapeline.lookup import dataset as kind
from tapeline.tables import raw as raws
from tapeline.tables import writing


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""

    dataset: Dataset


def partitions(config: Reads, *, raw: Path) -> Sequence[str]:
    """The ids of the partitions: those of the raw data.

    Raises:
        Refused: the dataset has one partition.
    """
    if kind(config.dataset).SPEC.partition is None:
        raise refuse(f"dataset={config.dataset.name}", "has one partition", "run features without this step")
    return list(raws.scan(raw))


def run(config: Reads, *, partition: str, part: Path, raw: Path) -> dict[str, Any]:
    """Write the part of the table that follows from one part of the raw data; return its facts."""
    header, parts = kind(config.dataset).table(config.dataset, {partition: raws.scan(raw)[partition]})
    ((name, frames),) = parts
    return asdict(writing.write_part(part.parent, header, name, frames))
