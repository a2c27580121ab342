"""The decision, and metrics.json around it.

tapeline step gate --in table=... --in servable=... --in scores=... --out metrics=metrics.json
"""

from __future__ import annotations

from pathlib import Path

from tapeline import config as configuration
from tapeline import files
from tapeline.config import Config
from tapeline.datasets.table import about
from tapeline.evaluation.gate import decide
from tapeline.serving import servable as servables


def run(config: Config, *, table: Path, servable: Path, scores: Path, store: str, metrics: Path) -> dict[str, str]:
    """Write metrics.json, a public interface (README.md); nothing in it names a place."""
    scored = files.read_json(scores)
    decision = decide(config.gate, scored["test"], scored["baselines"])
    dataset = configuration.plain(config)["dataset"]
    files.write_json(
        metrics,
        {
            "schema": 1,
            "ran": {
                "experiment": config.experiment,
                "dataset": config.dataset.name,
                "model": config.model.family,
                "hw": config.hw.name,
                "seed": config.seed,
            },
            "config": configuration.plain(config, places=False),
            "data": {
                "source": config.dataset.source,
                "simulated": config.dataset.source == "simulated",
                "digest": about(table)["digest"],
                "as_of": dataset.get("as_of"),
                "rows": scored["rows"],
            },
            "train": scored["train"],
            "test": scored["test"],
            "baselines": scored["baselines"],
            "gate": decision,
            "model_version": servables.about(servable)["model_version"],
        },
    )
    return {"accepted": str(decision["accepted"]).lower()}
