"""One pod of a sweep on a cluster: tapeline sweep-pod do=job name=0f3a1c5b7d92 sweep=sweep.json out=out"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "clusters"
HELP = "do the work of one pod of a sweep on a cluster; tapeline sweep target=argo starts these pods"
OPTIONS = (
    Option(
        "do",
        "data|find|job|leaderboard",
        "fill the shared cache, list the jobs without a result, run a job, or rank all",
        "job",
    ),
    Option("sweep", "FILE", "the definition of the sweep", "sweep.json"),
    Option("name", "NAME", "the job, or the data configuration"),
    Option("results", "FOLDER", "the results that the sweep has so far", "results"),
    Option("out", "FOLDER", "where files and output parameters go", "out"),
)
READS = ()
EXAMPLES = (
    ("tapeline sweep-pod do=job name=0f3a1c5b7d92 sweep=sweep.json out=out", "runs one job up to its report"),
    ("tapeline sweep-pod do=leaderboard sweep=sweep.json results=results out=out", "ranks the jobs that have ended"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Do it.

    Raises:
        Refused: the definition has no such job, or the data is refused.
    """
    from pathlib import Path

    from tapeline.clusters.sweep import Definition
    from tapeline.commands.sweep_pod import program, results

    sweep = Definition.read(Path(options.get("sweep", "sweep.json")))
    out, before = Path(options.get("out", "out")), Path(options.get("results", "results"))
    out.mkdir(parents=True, exist_ok=True)
    name = options.get("name", "")
    match options.get("do", "job"):
        case "data":
            program.data(sweep, name, out)
        case "find":
            results.find(sweep, before, out)
        case "leaderboard":
            results.rank(sweep, before, out)
        case _:
            program.job(sweep, name, out)
