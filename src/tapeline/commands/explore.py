"""The data before any training, as one HTML file: tapeline explore dataset.source=csv dataset.path=closes.csv

Ingest and features come from the same cache as a run's, and leave there what a run will need.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

GROUP = "run and look"
HELP = "write a page about the data, before any training"
OPTIONS = ()
READS = ("dataset", "experiment", "hw", "target")
EXAMPLES = (
    ("tapeline explore", "writes explore/indices_simulated.html: prices, gaps, correlations by lag"),
    ("tapeline explore dataset.source=csv dataset.path=closes.csv", "does the same for a CSV file"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Write `explore/<dataset>_<source>.html`.

    Raises:
        Refused: the data is not what the dataset takes.
    """
    from tapeline import files
    from tapeline.checks import configured
    from tapeline.config import local
    from tapeline.console import LOG, logged
    from tapeline.pipeline import cache, run_locally, shared_cache
    from tapeline.pipeline.graph import PROFILE, pipeline, until
    from tapeline.report import data_page

    overrides = local.with_typed(overrides)
    config = configured(overrides)
    dataset = config.dataset
    path = Path("explore") / f"{dataset.name}_{dataset.source}.html"
    with files.scratch(cache.local_folder(config.target.cache), "explore") as folder, logged():
        run_locally.begin(folder, config, datetime.now(UTC), overrides)
        if machine := local.files():
            LOG.info("with the overrides of %s", ", ".join(map(str, machine)))
        progress = run_locally.Progress(folder, shared=shared_cache.connect(config.target))
        for step in until(PROFILE, pipeline(config)):
            run_locally.take(step, config, progress)
        html = data_page(files.read_json(progress.artifacts[PROFILE.name]))
        files.write_bytes(path, html.encode())
        LOG.info("data: %s", path)
