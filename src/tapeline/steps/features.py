"""Features and target, and what the data is like.

tapeline step features --in raw=raw --out table=table --out profile=profile.json --out sample=sample.parquet
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.config.schema import Dataset
from tapeline.lookup import dataset as kind
from tapeline.lookup import observed, task
from tapeline.tables import profile as profiles
from tapeline.tables import quality, writing
from tapeline.tables import raw as raws
from tapeline.tables.parts import join
from tapeline.tables.table import Table


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""

    dataset: Dataset


def space(config: Reads, *, raw: Path, table_parts: Path | None = None) -> int:
    """Bytes of disk that `run` needs at most, about: a table has more columns than raw data."""
    return 4 * files.size([raw])


def run(config: Reads, *, raw: Path, table_parts: Path | None = None, table: Path, profile: Path, sample: Path) -> None:
    """Write the table that models learn from, its profile, and 64 of its rows; log what looks wrong in the raw data.

    Raises:
        Refused: there are parts of the table, and one is missing or damaged.
    """
    module = kind(config.dataset)
    frame = raws.scan(raw) if module.SPEC.partition else raws.read(raw)
    examined, found = quality.examined(observed(config.dataset, frame))
    defects = quality.records(found)
    quality.say(defects)
    header, parts = module.table(config.dataset, frame)
    header = replace(header, task=module.SPEC.task, dataset=config.dataset.name)
    whole = join(table, header, table_parts, raws.scan(raw)) if table_parts else writing.write(table, header, parts)
    made = Table(table, whole)
    writing.write_sample(made, sample)
    offer = getattr(module, "series", None)
    statistics: dict[str, Any] = {"series": profiles.of_series(offer(config.dataset, frame))} if offer else {}
    statistics["table"] = profiles.of_table(made, task(made.manifest.task).describe)
    plain = config.dataset.model_dump(mode="json")
    files.write_json(
        profile,
        {
            "schema": 1,
            "dataset": config.dataset.name,
            "task": made.manifest.task,
            "source": config.dataset.source,
            "simulated": config.dataset.source == "simulated",
            "as_of": plain.get("as_of"),
            "digest": raws.digest(raw),
            "table": made.manifest.digest,
            "rows": made.manifest.rows,
            "examined": examined,
            "quality": defects,
            "notes": made.manifest.extra,
            "statistics": statistics,
        },
    )
