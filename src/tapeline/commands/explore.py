"""The data before any training, as one HTML file: tapeline explore dataset.source=csv dataset.path=closes.csv

Ingest and features come from the same cache as a run's, and leave there what a run will need.
"""

from __future__ import annotations

from pathlib import Path

from tapeline import files
from tapeline.config import compose as conf
from tapeline.config.schema import Config
from tapeline.console import LOG, logged
from tapeline.pipeline import run_locally as local
from tapeline.pipeline.graph import TABLE, pipeline, until
from tapeline.report import data_page
from tapeline.tables.table import about


def run(config: Config) -> Path:
    """Write `explore/<dataset>_<source>.html`; return its path.

    Raises:
        Refused: the data is not what the dataset takes.
    """
    dataset = config.dataset
    path = Path("explore") / f"{dataset.name}_{dataset.source}.html"
    with files.scratch(Path(config.target.cache), "explore") as folder, logged():
        progress = local.Progress(folder)
        for step in until(TABLE, pipeline(config)):
            local.take(step, config, progress)
        told = about(progress.artifacts[TABLE.name])
        as_of = conf.plain(config)["dataset"].get("as_of")
        html = data_page(told, source=dataset.source, simulated=dataset.source == "simulated", as_of=as_of)
        files.write_bytes(path, html.encode())
        LOG.info("data: %s", path)
    return path
