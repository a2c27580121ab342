"""Publish the model of a finished run: tapeline publish run=latest"""

from __future__ import annotations

from tapeline.commands import NAMED_MODEL, Option

GROUP = "serve"
HELP = "make the model of an accepted run the live version"
OPTIONS = (
    Option("run", "RUN", "a folder in runs", "latest"),
    Option("why", "TEXT", "the reason, for the store's log"),
)
READS = (*NAMED_MODEL, "serving.keep", "serving.lock_seconds", "target.runs")
EXAMPLES = (
    ("tapeline publish", "publishes the model of runs/latest"),
    ("tapeline publish run=20261121-120000_indices_deep why='better on 2015'", "publishes the model of an older run"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Publish, and print what is live.

    Raises:
        Refused: there is no such run, its gate rejected the model, or it was rolled back.
    """
    from tapeline.lookup import configure
    from tapeline.pipeline.graph import METRICS, SERVABLE
    from tapeline.pipeline.run_folder import accepted, check_name
    from tapeline.serving.store import operations

    config = configure(overrides)
    folder, serving = accepted(options.get("run", "latest"), config)
    check_name(overrides, config, serving.name)
    why = options.get("why", "")
    version, written = operations.publish(folder / SERVABLE.file, folder / METRICS.file, serving.store, serving, why)
    print(f"served now: {version}" + ("" if written else "; it was live already, and nothing was written"))
