"""The composed configuration as YAML, or the keys of a group: tapeline config group=dataset"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "run and look"
HELP = "print the composed configuration of the overrides, the keys of a group, or the graph of steps"
OPTIONS = (
    Option("group", "GROUP", "list the options of a group and their keys: value, type and range, meaning"),
    Option(
        "graph", "true|svg|false", "print the steps and their artifacts as a Mermaid diagram, or as a picture", "false"
    ),
)
EXAMPLES = (
    ("tapeline config", "prints the defaults as YAML"),
    ("tapeline config experiment=snp_deep model.steps=500", "prints what a run with these overrides would use"),
    ("tapeline config group=model", "explains each key of each model family"),
    ("tapeline config graph=true target=argo", "prints the graph of steps, which GitHub and editors draw"),
    ("tapeline config graph=svg model=lightgbm tune=optuna", "prints it as a picture, for > graph.svg"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Compose, validate and print.

    Raises:
        Refused: the configuration is, or there is no such group.
    """
    import yaml

    from tapeline.commands.config import graph, keys
    from tapeline.config.compose import plain
    from tapeline.lookup import configure

    if "group" in options:
        print(*keys.lines(options["group"]), sep="\n")
        return
    config = configure(overrides)
    if (kind := options.get("graph", "false")) != "false":
        print(graph.svg(config) if kind == "svg" else graph.mermaid(config))
        return
    print(yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True), end="")
