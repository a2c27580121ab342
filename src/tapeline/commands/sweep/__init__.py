"""A run for each combination of values, and a leaderboard: tapeline sweep model=flat,deep gate.threshold=0.5,0.6"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "sweep and compare"
HELP = "run each combination of several values, and rank the runs; a sweep publishes nothing"
OPTIONS = (Option("name", "NAME", "the folder in sweeps", "a digest of the overrides, so the same line continues"),)
EXAMPLES = (
    ("tapeline sweep model=flat,deep,lightgbm", "makes three runs and a leaderboard in sweeps/latest"),
    (
        "tapeline sweep model=flat model.learning_rate=0.001,0.01 seed=1,2,3 name=rates",
        "makes six runs in sweeps/rates",
    ),
    (
        "tapeline sweep target=argo model=flat,deep target.cache=s3://cache/prices target.parallelism=2",
        "runs the jobs in pods of one workflow, two at a time, and copies leaderboard and reports",
    ),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Run the sweep, on this machine or on Argo Workflows, and write its leaderboard.

    Raises:
        Refused: an override that no job could have, a target without sweeps, or no job finished.
    """
    from tapeline.commands.sweep import sweep

    sweep.run(overrides, name=options.get("name"))
