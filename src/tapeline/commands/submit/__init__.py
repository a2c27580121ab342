"""A run on a cluster, followed and fetched: tapeline submit target=argo experiment=snp_deep"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "clusters"
HELP = "run it on a cluster, follow it, and fetch its report and metrics.json"
OPTIONS = (
    Option("apply", "true|false", "also bring what the run needs of us to the cluster", "false"),
    Option("run", "NAME", "follow and fetch a run that was begun before", "a new run"),
)
EXAMPLES = (
    ("tapeline submit target=argo experiment=snp_deep", "starts a run of a template that is in the cluster"),
    ("tapeline submit target=kfp model=flat apply=true", "uploads the pipeline first"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Submit, follow and fetch; the run's folder is in `runs`.

    Raises:
        Refused: the configuration is, the cluster says no, or the run fails.
    """
    from tapeline.commands.submit import follow

    follow.run(overrides, options)
