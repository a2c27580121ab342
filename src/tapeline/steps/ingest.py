"""Raw data from its source, checked: tapeline step ingest --out raw=raw"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tapeline import files
from tapeline.config.schema import Dataset
from tapeline.datasets.sources import Known
from tapeline.errors import Finding, Refused
from tapeline.lookup import dataset as kind
from tapeline.lookup import observed, source
from tapeline.tables import quality
from tapeline.tables import raw as raws


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""

    dataset: Dataset


def seen(config: Reads, known: Known | None = None) -> str | None:
    """A digest of what `run` would read, or None where it is known only after reading.

    Args:
        config: what the step reads.
        known: digests of objects in object storages, by URL and ETag; new ones are added.
    """
    return source(config.dataset).seen(config.dataset, known)


def space(config: Reads) -> int:
    """Bytes of disk that `run` needs at most, about: a decompressed copy of the source, and the raw data."""
    measure = getattr(source(config.dataset), "size", None)
    return 2 * measure(config.dataset) if measure else 0


def run(config: Reads, *, raw: Path) -> dict[str, str]:
    """Write the raw data: typed, sorted, unique; log what looks wrong in it.

    Returns:
        The ids of its partitions, where it may have several.

    Raises:
        Refused: it cannot be read, or exceeds `dataset.max_gap_days` or `dataset.max_move`.
    """
    module, dataset = kind(config.dataset), config.dataset
    with files.scratch(raw.parent, "source") as folder:
        frame, where = source(dataset).read(dataset, module.simulate, folder)
        made = module.ingest(dataset, frame, where)
        raws.write(raw, made if module.SPEC.partition else [("all", made)])
    whole = raws.scan(raw) if module.SPEC.partition else raws.read(raw)
    quality.say(quality.records(quality.examine(observed(dataset, whole))))
    limited = dataset.max_gap_days is not None or dataset.max_move is not None
    series = observed(dataset, whole) if limited else ()
    beyond = quality.limits(series, dataset.max_gap_days, dataset.max_move)
    if findings := [Finding(f"{where}, {each.where}", each.problem, each.fix) for each in beyond]:
        raise Refused(*findings)
    return {"partitions": json.dumps(list(whole))} if module.SPEC.partition else {}
