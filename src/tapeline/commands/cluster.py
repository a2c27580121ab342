"""The commands that create a cluster for the overlays: tapeline cluster provider=kind

They are printed to be read, changed and pasted; run=true runs them, one after the other.
"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "clusters"
HELP = "print the commands that create a cluster for the Kustomize overlays, or run them"
OPTIONS = (
    Option("provider", "kind|gke", "where the cluster is created; required"),
    Option("engine", "argo|kfp", "what is installed to run pipelines", "argo"),
    Option("project", "ID", "the project, for provider=gke; required there"),
    Option("zone", "NAME", "the zone, for provider=gke", "europe-west4-a"),
    Option("run", "true|false", "run the commands instead of printing them only", "false"),
)
READS = ("experiment", "hw")
EXAMPLES = (
    ("tapeline cluster provider=kind", "prints the commands for a cluster on this machine"),
    ("tapeline cluster provider=gke hw=gpu-t4 project=my-project run=true", "creates one on GKE with T4 GPUs"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Print the commands, and run them with run=true.

    Raises:
        Refused: the provider does not have the card, an option is missing, or a command fails.
    """
    from tapeline.clusters import providers
    from tapeline.lookup import configure

    commands, after = providers.make(configure(overrides).hw, options)
    providers.execute(commands, run=options.get("run") == "true")
    print(f"# next: {after}")
