"""The composed configuration as YAML: tapeline config experiment=snp_deep model.steps=500"""

from __future__ import annotations

GROUP = "run and look"
HELP = "print the composed configuration of the overrides"
OPTIONS = ()
EXAMPLES = (
    ("tapeline config", "prints the defaults as YAML"),
    ("tapeline config experiment=snp_deep model.steps=500", "prints what a run with these overrides would use"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Compose, validate and print."""
    import yaml

    from tapeline.config.compose import plain
    from tapeline.lookup import configure

    print(yaml.safe_dump(plain(configure(overrides)), sort_keys=False, allow_unicode=True), end="")
