"""A second version beside the live one: tapeline canary run=latest"""

from __future__ import annotations

from tapeline.commands import NAMED_MODEL, Option

GROUP = "serve"
HELP = "serve the model of a run, or a version, beside the live one"
OPTIONS = (
    Option("run", "RUN", "a folder in runs", "latest"),
    Option("version", "N", "a version of the store instead of a run"),
    Option("why", "TEXT", "the reason, for the store's log"),
)
READS = (*NAMED_MODEL, "serving.lock_seconds", "target.runs")
EXAMPLES = (
    ("tapeline canary", "serves the model of runs/latest as <serving.name>-canary"),
    ("tapeline canary version=3 why='compare with March'", "does so with version 3 of the store"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Serve it, and print what is served.

    Raises:
        Refused: there is no such run or version, its gate rejected the model, or nothing is live.
    """
    from tapeline.errors import refuse
    from tapeline.lookup import configure
    from tapeline.pipeline.graph import METRICS, SERVABLE
    from tapeline.pipeline.run_folder import accepted, check_name
    from tapeline.serving.store import operations

    config, why = configure(overrides), options.get("why", "")
    number = operations.number(options.get("version"))
    if number is None and "version" in options:
        raise refuse("version", "is empty", "write one that tapeline versions lists, for example version=3")
    if number is None:
        folder, serving = accepted(options.get("run", "latest"), config)
        check_name(overrides, config, serving.name)
        model, metrics = folder / SERVABLE.file, folder / METRICS.file
        print(operations.canary(model, metrics, serving.store, serving, why))
    elif "run" in options:
        raise refuse("run and version", "both name a model", "give one of them, for example canary version=3")
    else:
        print(operations.canary(number, None, config.serving.store, config.serving, why))
