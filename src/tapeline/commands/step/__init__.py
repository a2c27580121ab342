"""One step as a program, or several in one go, for containers and for a look at what a step does.

tapeline step train model=flat --in table=table.parquet --out fitted=fitted
"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "maintenance"
HELP = "run one step, or several, as a program: files in, files out"
WORDS = "NAME[,NAME] [--in ARTIFACT=PATH ...] [--out ARTIFACT=PATH ...]"
OPTIONS = (
    Option("--in", "ARTIFACT=PATH", "an artifact that a step takes; once for each"),
    Option("--out", "ARTIFACT=PATH", "where an artifact or output parameter goes; once for each"),
    Option("--executor-input", "JSON", "what KFP gives a task, for the figures on its pages"),
)
EXAMPLES = (
    (
        "tapeline step train model=flat --in table=table.parquet --out fitted=fitted",
        "trains on a table, and writes the folder fitted",
    ),
    (
        "tapeline step ingest,features --out raw=raw.parquet --out table=table.parquet",
        "runs two steps; the second one takes what the first one made",
    ),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Run the steps that the words name.

    Raises:
        Refused: a word is out of place, an artifact is missing, or what a step refuses.
    """
    from tapeline.checks import before_build
    from tapeline.commands.step import program
    from tapeline.lookup import configure
    from tapeline.pipeline.graph import PIPELINE

    call = program.read(overrides)
    config = configure(call.overrides)
    if PIPELINE[0] in call.steps:
        # the first step answers for the whole configuration; others see a part of it
        before_build(config)
    program.run(call, config)
