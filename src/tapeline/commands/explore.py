"""The data before any training, as one HTML file: tapeline explore dataset.source=csv dataset.path=closes.csv

Ingest and features come from the same cache as a run's, and leave there what a run will need.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tapeline import files
from tapeline.config.schema import Config
from tapeline.console import LOG, logged
from tapeline.pipeline import run_locally as local
from tapeline.pipeline.graph import step
from tapeline.report import data_page


def run(config: Config) -> Path:
    """Write `explore/<dataset>_<source>.html`; return its path.

    Raises:
        Refused: the data is not what the dataset takes.
    """
    dataset = config.dataset
    path = Path("explore") / f"{dataset.name}_{dataset.source}.html"
    with files.scratch(Path(config.target.cache), "explore") as folder, logged():
        local.begin(folder, config, datetime.now(UTC))
        progress = local.Progress(folder)
        for name in ("ingest", "features"):
            local.take(step(name), config, progress)
        html = data_page(files.read_json(progress.artifacts["profile"]))
        files.write_bytes(path, html.encode())
        LOG.info("data: %s", path)
    return path
