"""The commands by file name, the check of their words, and their help; nothing heavy is imported."""

from __future__ import annotations

import re
import textwrap

from tapeline.commands import load as load
from tapeline.commands import names as names
from tapeline.commands import split as split
from tapeline.commands import words_of
from tapeline.errors import program

GROUPS = ("run and look", "sweep and compare", "serve", "clusters", "maintenance")
"""Headings of `tapeline --help`."""
WIDTH = 100
"""Columns of a line of help."""


def as_typed(text: str) -> str:
    """The text with its commands written as they were typed: `make run` instead of `tapeline run` below make."""
    if program() != "make":
        return text
    by_make = "|".join(name for name in names() if not words_of(load(name)))
    text = re.sub(rf"(?<![\w./-])tapeline (?=(?:{by_make})\b(?!-))", "make ", text)
    return re.sub(r"(?<![\w./-])tapeline (?=(?:store|step)\b)", ".venv/bin/tapeline ", text)


def usage() -> str:
    """What `tapeline --help` prints."""
    lines = [
        "tapeline: from market data to a served model.",
        "",
        "usage: tapeline COMMAND [key=value ...]         in a checkout also: make COMMAND [key=value ...]",
        "       tapeline COMMAND --help                  its options, and examples",
        "",
        "A key=value is an option of the command, or a Hydra override of the configuration in conf/:",
        "model=flat chooses conf/model/flat.yaml, model.steps=5000 sets one key.",
    ]
    listed = {name: load(name) for name in names()}
    groups = {name: getattr(command, "GROUP", GROUPS[-1]) for name, command in listed.items()}
    for group in dict.fromkeys((*GROUPS, *groups.values())):
        lines += ["", group]
        lines += [f"  {name:15} {listed[name].HELP}" for name in listed if groups[name] == group]
    return "\n".join(lines)


def explain(name: str) -> str:
    """What `tapeline COMMAND --help` prints: usage, options with meaning and default, examples.

    Raises:
        Refused: there is no such command.
    """
    command = load(name)
    reads = getattr(command, "READS", None)
    arguments = [
        words_of(command),
        "[option=value ...]" if any(not option.is_word for option in command.OPTIONS) else "",
        "" if reads == () else "[key=value ...]",
    ]
    lines = [f"tapeline {name}: {command.HELP}", "", " ".join(["usage: tapeline", name, *filter(None, arguments)])]
    if command.OPTIONS:
        lines += ["", "options"]
        for option in command.OPTIONS:
            default = f" (default: {option.default})" if option.default else ""
            lines += _entry(f"{option.name}{' ' if option.is_word else '='}{option.values}", option.meaning + default)
    if reads != ():
        keys = "of any section" if reads is None else f"of {', '.join(reads)}"
        text = f"Other keys are overrides of the configuration, {keys}; tapeline config prints it."
        lines += ["", *textwrap.wrap(text, WIDTH, break_on_hyphens=False)]
    lines += ["", "examples"]
    for line, does in command.EXAMPLES:
        lines += [f"  {line}", *textwrap.wrap(does, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)]
    return "\n".join(lines)


def _entry(term: str, meaning: str) -> list[str]:
    indent = " " * 26
    lines = textwrap.wrap(meaning, WIDTH, initial_indent=indent, subsequent_indent=indent)
    if len(term) > 22:
        return [f"  {term}", *lines]
    return [f"  {term:24}{lines[0].strip()}", *lines[1:]]
