"""All rules over all that is here: tapeline check"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapeline.checks.nodes import Node
    from tapeline.errors import Finding

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
    checked.add(found for container in checked.containers for found in arguments_are_read(container))
    if checked.findings:
        raise Refused(*checked.findings)
    print(checked)


def arguments_are_read(container: Node) -> Iterator[Finding]:
    """What a command of tapeline says of the arguments that a container gives it; steps are a rule of checks."""
    from tapeline.checks.programs import arguments
    from tapeline.commands import load, split
    from tapeline.config.compose import folder
    from tapeline.errors import Refused

    given = [_filled_in(word) for word in arguments(container) or ()]
    if not given or given[0] == "step":
        return
    try:
        command = load(given[0])
        texts, _ = split(given[0], command, given[1:])
        if getattr(command, "READS", None) != ():
            _compose(str(folder()), tuple(text for text in texts if "=" in text.partition("://")[0]))
        yield from _words(container, given[0], getattr(command, "WORDS", ""), texts)
    except Refused as error:
        for each in error.findings:
            yield container.at("args").wrong(f"{each.where}: {each.problem}", each.fix)


@lru_cache(maxsize=128)
def _compose(folder: str, overrides: tuple[str, ...]) -> None:
    """Compose the configuration of the folder once with these overrides, which refuses those that do not fit."""
    from tapeline.config.compose import compose

    del folder
    compose(overrides)


def _filled_in(word: str) -> str:
    """The word with a value for what Argo, KFP or Kubernetes puts in."""
    return re.sub(r"\{\{.*?\}\}|\$\(\w+\)", "x", word, flags=re.DOTALL)


def _words(container: Node, name: str, usage: str, texts: Sequence[str]) -> Iterator[Finding]:
    """The first word of `store init` is one of those that the command knows."""
    from tapeline.errors import nearest

    known = re.findall(r"(?<![A-Z\w])[a-z]+", usage)
    first = next((text for text in texts if "=" not in text), None)
    if known and first is not None and first not in known:
        fix = nearest(first, known, otherwise=f"write one of: {', '.join(known)}")
        yield container.at("args").wrong(f"{name} {first}: names no action", fix)
