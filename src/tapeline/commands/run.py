"""The whole pipeline on this machine: tapeline run model=deep dataset.source=csv dataset.path=closes.csv"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "run and look"
HELP = "run the whole pipeline on this machine: data, training, evaluation, gate, report, publishing"
OPTIONS = (
    Option("why", "true|false", "for each step that does not come from the cache: what has changed", "false"),
    Option("publish", "true|false", "let an accepted model go live in serving.store", "true"),
    Option("files", "true|false", "also print metrics.json, report.html and published.json in base64", "false"),
    Option("built", "JSON", "refuse where conf/ composes other values than these, which a build gives a pod"),
)
EXAMPLES = (
    ("tapeline run model=flat seed=7", "trains the small network on simulated markets; runs/latest holds the result"),
    (
        "tapeline run dataset.source=csv dataset.path=closes.csv publish=false why=true",
        "uses a CSV file, leaves the store alone, and says why each step runs",
    ),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Run the graph; what a run leaves is in `runs/latest`."""
    from tapeline.checks import configured
    from tapeline.clusters import built, run_status
    from tapeline.config import local
    from tapeline.pipeline import run_locally
    from tapeline.pipeline.graph import FETCHED, pipeline

    machine = [] if "built" in options else local.files()
    overrides = local.with_typed(overrides) if machine else overrides
    config = configured(overrides)
    if "built" in options:
        built.check(options["built"], config, [], pipeline(config))
    folder = run_locally.run(
        config,
        why=options.get("why") == "true",
        publish=options.get("publish") != "false",
        overrides=overrides,
        machine=machine,
    )
    if options.get("files") == "true":
        print(*run_status.pack(folder / artifact.file for artifact in FETCHED), sep="\n")
