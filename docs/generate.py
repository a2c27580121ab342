"""The pages of the documentation that follow from the code: python docs/generate.py

reference/commands.md from the commands, reference/configuration.md from conf/ and the schema, glossary.md from
CONTRIBUTING.md, changelog.md from CHANGELOG.md, and graph.html, the picture on the first page. They are made by
`make docs` and are not in the repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tapeline.cli import commands
from tapeline.commands.config import graph, keys
from tapeline.lookup import GROUPS, configure

DOCS = Path(__file__).parent
ROOT = DOCS.parent


def pages() -> dict[str, str]:
    """The text of each page by its path below docs/."""
    return {
        "reference/commands.md": "\n".join(_commands()),
        "reference/configuration.md": "\n".join(_configuration()),
        "graph.html": picture(),
        "glossary.md": _section("CONTRIBUTING.md", "Glossary"),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    }


def picture() -> str:
    """The graph of the default configuration as HTML; it scrolls on a narrow screen."""
    return f'<div style="overflow-x: auto">{graph.svg(configure([]))}</div>'


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    yield "In a checkout, `make COMMAND key=value` does the same as `tapeline COMMAND key=value`, and installs what it"
    yield "needs. Only `tapeline store` and `tapeline step` have no form for make. This page is made from"
    yield "`tapeline COMMAND --help`."
    listed = {name: commands.load(name) for name in commands.names()}
    for group in commands.GROUPS:
        yield f"\n## {group[0].upper()}{group[1:]}\n"
        for name, command in listed.items():
            if getattr(command, "GROUP", commands.GROUPS[-1]) == group:
                yield f"### {name}\n\n```text\n{commands.explain(name)}\n```\n"


def _configuration() -> Iterator[str]:
    yield "# Configuration\n"
    yield "Each group is a folder of `conf/`, and each option a file in it. `make run model=flat` chooses an option,"
    yield "`make run model.steps=500` sets a key, and `make config` prints the result. This page is made from the files"
    yield "of `conf/` and from the schema; `make config group=model` prints the same in a terminal.\n"
    for group in (*GROUPS, *(name for name in keys.groups() if name not in GROUPS)):
        yield f"## {group}\n"
        for choice in keys.choices(group):
            yield f"### {group}={choice.name}\n"
            yield f"{_prose(choice.about)}\n"
            if choice.keys:
                yield "| key | value | type and range | meaning |\n|---|---|---|---|"
                yield from (_row(group, key) for key in choice.keys)
                yield ""
    yield "## The graph of steps\n"
    yield "`make config graph=svg` prints this picture for any configuration, and `graph=true` a Mermaid diagram.\n"
    yield f"```{{raw}} html\n{picture()}\n```"


def _row(group: str, key: keys.Key) -> str:
    cells = [
        f"`{keys.full(group, key)}`",
        f"`{key.value}`" if key.value else "",
        _escaped(key.kind),
        _escaped(key.meaning),
    ]
    return f"| {' | '.join(cells)} |"


def _prose(text: str) -> str:
    """With command lines as code."""
    parts = re.split(r"(\bmake \w+(?: [\w.@/]+=[^\s,;]+)+)", text)
    return "".join(f"`{part}`" if at % 2 else _escaped(part) for at, part in enumerate(parts))


def _escaped(text: str) -> str:
    return re.sub(r"([|<>*_\[\]{}$])", r"\\\1", text)


def _section(file: str, title: str) -> str:
    """A section of a file of the repository, as a page."""
    text = (ROOT / file).read_text(encoding="utf-8")
    body = text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return f"# {title}\n{body}"


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / name).write_text(text.rstrip() + "\n", encoding="utf-8")
