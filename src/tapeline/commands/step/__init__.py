"""One step, or several in their order, as a program, for containers and for debugging.

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
    Option("--in-optional", "ARTIFACT=PATH", "the same for an artifact that may be missing"),
    Option("--part", "ID", "the only partition to make, of a step that makes them one by one"),
    Option("--built", "JSON", "the composed configuration of a build; steps refuse to run if conf/ differs"),
    Option("--submitted", "key=value", "the parameters of a submitted run follow; their values are plain text"),
    Option("--executor-input", "JSON", "KFP's description of a task, for the metrics on its pages"),
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
    """Run the named steps.

    Raises:
        Refused: a word is out of place, an artifact is missing, or what a step refuses.
    """
    from tapeline.commands.step import program

    program.run(overrides)
