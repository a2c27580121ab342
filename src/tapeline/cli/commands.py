"""The commands by file name, the check of their words, and their help; nothing heavy is imported."""

from __future__ import annotations

import importlib
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import cast

from tapeline import files
from tapeline.commands import Command
from tapeline.config.overrides import section_of
from tapeline.errors import Finding, Refused, nearest, program, refuse

GROUPS = ("run and look", "sweep and compare", "serve", "clusters", "maintenance")
"""Headings of `tapeline --help`."""
WIDTH = 100
"""Columns of a line of help."""


def names() -> list[str]:
    """All commands, as people write them."""
    return [name.replace("_", "-") for name in files.modules("tapeline.commands")]


def load(name: str, others: Sequence[str] = ()) -> Command:
    """The module of a command.

    Args:
        name: as people write it.
        others: names that are also close to what was meant, as make's own goals.

    Raises:
        Refused: there is none of that name.
    """
    if name not in names():
        fix = nearest(name, [*names(), *others], otherwise="see tapeline --help")
        raise refuse(name, "unknown command", fix)
    return cast(Command, importlib.import_module(f"tapeline.commands.{name.replace('-', '_')}"))


def split(name: str, command: Command, arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Overrides, and the values of the command's own options.

    Raises:
        Refused: a word is no key=value, an option has a value that it cannot have, or the command does not
            read a key; all of them at once.
    """
    overrides: list[str] = []
    options: dict[str, str] = {}
    findings: list[Finding] = []
    known = {option.name: option for option in command.OPTIONS if not option.is_word}
    for text in arguments:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            unread = list(_unread(name, command, text))
            findings += unread
            overrides += [] if unread else [text]
        elif known[key].choices and value not in known[key].choices:
            findings.append(
                Finding(text, "is no value of this option", f"choose one of: {', '.join(known[key].choices)}")
            )
        elif options.setdefault(key, value) != value:
            findings.append(Finding(text, f"{key} has two values", f"leave one out: {key}={options[key]} or this"))
    if findings:
        raise Refused(*findings, *_composed_mistakes(name, command, overrides))
    return overrides, options


def _composed_mistakes(name: str, command: Command, overrides: Sequence[str]) -> Sequence[Finding]:
    """What is also wrong with the overrides of a line that is refused already, so that all is said at once."""
    if not overrides or _words(command) or getattr(command, "READS", None) == () or name in ("runs", "sweep"):
        return ()
    from tapeline.checks import before_build, configured

    try:
        configured(overrides, before_build)
    except Refused as error:
        return error.findings
    return ()


def _unread(name: str, command: Command, text: str) -> Iterator[Finding]:
    """What is wrong with a word that is none of the command's options; its value is the configuration's affair."""
    if _words(command):
        return
    options = [option.name for option in command.OPTIONS]
    if text.startswith("-"):
        key = text.lstrip("-").partition("=")[0]
        yield Finding(text, "options are key=value", nearest(key, options, otherwise="leave out the -"))
        return
    if "=" not in text and not text.startswith("~"):
        yield Finding(text, "is no key=value", "write as in model=deep")
        return
    section = section_of(text)
    sections = _sections()
    reads = getattr(command, "READS", None)
    if section in sections and reads is not None and section not in (*reads, "hydra"):
        what = f"it reads {', '.join(reads)}" if reads else "it reads no configuration"
        yield Finding(text, f"{name} does not read {section}", f"leave it out; {what}")
    elif section not in sections:
        close = nearest(section, [*sections, *options], otherwise="")
        if reads == () or any(close == f"did you mean {option}?" for option in options):
            yield Finding(text, f"unknown option of {name}", close or f"leave it out; see tapeline {name} --help")


def _sections() -> list[str]:
    """What the first part of a key can be."""
    from dataclasses import fields

    from tapeline.config.schema import NO_KEYS, Config

    return [*(field.name for field in fields(Config) if field.name not in NO_KEYS), "hydra"]


def _words(command: Command) -> str:
    return str(getattr(command, "WORDS", ""))


def as_typed(text: str) -> str:
    """The text with its commands written as they were typed: `make run` instead of `tapeline run` below make."""
    if program() != "make":
        return text
    by_make = "|".join(name for name in names() if not _words(load(name)))
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
        _words(command),
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
        lines += ["", f"Other keys are overrides of the configuration, {keys}; tapeline config prints it."]
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
