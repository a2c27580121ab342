"""The commands that delete a cluster: tapeline cluster-down provider=kind"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "clusters"
HELP = "print the commands that delete the cluster of `tapeline cluster`, or run them"
OPTIONS = (
    Option("provider", "kind|gke", "where the cluster is; required"),
    Option("project", "ID", "the project, for provider=gke; required there"),
    Option("zone", "NAME", "the zone, for provider=gke", "europe-west4-a"),
    Option("run", "true|false", "run the commands instead of printing them only", "false"),
)
READS = ()
EXAMPLES = (
    ("tapeline cluster-down provider=kind", "prints the command that deletes the local cluster"),
    ("tapeline cluster-down provider=gke project=my-project run=true", "deletes the cluster on GKE"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Print the commands, and run them with run=true.

    Raises:
        Refused: an option is missing, or a command fails.
    """
    from tapeline.clusters import providers

    commands, note = providers.remove(options)
    providers.execute(commands, run=options.get("run") == "true")
    if note:
        print(f"# {note}")
