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
    Option("--in-optional", "ARTIFACT=PATH", "the same for one that need not be there"),
    Option("--built", "JSON", "what a build saw of the configuration; steps refuse to run where conf/ differs"),
    Option("--submitted", "key=value", "begins the parameters of a submitted run, whose values must be plain"),
    Option("--executor-input", "JSON", "what KFP gives a task, for the figures on its pages"),
)
EXAMPLES = (
    (
        "tapeline step train model=flat --in table=table.parquet --out fitted=fitted",
        "trains on a table, and writes the folder fitted",
    ),
    (
        "tapeline step ingest,features --out table=table.parquet",
        "runs two steps; the second one takes what the first one made, which is not kept",
    ),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Run the steps that the words name.

    Raises:
        Refused: a word is out of place, an artifact is missing, or what a step refuses.
    """
    from tapeline.commands.step import program

    program.run(overrides)
