"""A run on a cluster: tapeline submit target=argo experiment=snp_deep"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "clusters"
HELP = "start a run on a cluster, show its progress, and copy its report and metrics.json"
OPTIONS = (
    Option("apply", "true|false", "run also if the cluster has no such template; none is changed", "false"),
    Option("check", "true|false", "say where the run would be and what is missing there; start nothing", "false"),
    Option("run", "NAME", "follow a run that was started before, and copy its files", "a new run"),
    Option("stop", "true|false", "stop the run that run=NAME names, instead of following it", "false"),
)
EXAMPLES = (
    ("tapeline submit target=argo experiment=snp_deep", "starts a run of a template on the cluster"),
    ("tapeline submit target=argo model=flat apply=true", "starts a run that needs no template on the cluster"),
    ("tapeline submit target=kfp experiment=snp_deep check=true", "says what a run in KFP would lack"),
    ("tapeline submit target=argo run=snp-deep-cpu-x7f stop=true", "stops a run"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Start a run, show its progress, and copy its files to a folder in `runs`.

    Raises:
        Refused: the configuration is, the cluster says no, or the run fails.
    """
    from tapeline.commands.submit import follow

    follow.run(overrides, options)
