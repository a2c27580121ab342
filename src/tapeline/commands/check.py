"""All checks of the project: tapeline check"""

from __future__ import annotations

GROUP = "maintenance"
HELP = "verify every option, the graph, emitted YAML, images and the Kustomize tree, offline"
OPTIONS = ()
READS = ()
EXAMPLES = (
    ("tapeline check", "prints what was checked, or each finding with file, key and fix"),
    ("make check", "does the same in a checkout, and installs first what it needs"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Apply all rules, and print how many things were checked.

    Raises:
        Refused: all findings.
    """
    from tapeline.checks.everything import everything
    from tapeline.errors import Refused

    checked = everything()
    if checked.findings:
        raise Refused(*checked.findings)
    print(checked)
