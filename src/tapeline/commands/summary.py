"""The result of a run on a cluster: tapeline summary name=x7f status=Succeeded duration=84.1"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "clusters"
HELP = "print the result of a run on a cluster, or its files in base64; the last pods of a run do so"
OPTIONS = (
    Option("name", "TEXT", "the run's name on the cluster", "run"),
    Option("status", "TEXT", "its status on the cluster", "ended"),
    Option("duration", "SECONDS", "its duration"),
    Option("failures", "JSON", "a list of the pods that failed, with displayName and message"),
    Option("metrics", "FILE", "the run's metrics.json, for the gate's decision; by default the one here"),
    Option("files", "FILE,FILE", "print these files in base64 instead"),
)
READS = ()
EXAMPLES = (
    ("tapeline summary name=x7f status=Succeeded duration=84.1", "prints state, time and the gate's decision"),
    ("tapeline summary files=metrics.json,report.html", "prints both files as text that submit reads from the log"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Print it."""
    from pathlib import Path

    from tapeline.clusters import run_status

    if "files" in options:
        print(*run_status.pack(map(Path, options["files"].split(","))), sep="\n")
    else:
        print(run_status.summary(options))
