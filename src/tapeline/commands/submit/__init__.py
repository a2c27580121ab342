"""A run on a cluster: tapeline submit target=argo experiment=snp_deep"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "clusters"
HELP = "start a run on a cluster, show its progress, and copy its report and metrics.json"
OPTIONS = (
    Option("apply", "true|false", "first create or update the template on the cluster", "false"),
    Option("run", "NAME", "show and copy a run that was started before", "a new run"),
)
EXAMPLES = (
    ("tapeline submit target=argo experiment=snp_deep", "starts a run of a template on the cluster"),
    ("tapeline submit target=kfp model=flat apply=true", "uploads the pipeline first"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Start a run, show its progress, and copy its files to a folder in `runs`.

    Raises:
        Refused: the configuration is, the cluster says no, or the run fails.
    """
    from tapeline.commands.submit import follow

    follow.run(overrides, options)
