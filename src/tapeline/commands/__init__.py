"""The commands: `tapeline verify-cluster` is the module `verify_cluster` in this folder, found by its file name.

What a module offers is `Command`. It imports at its top only what is light, since `tapeline --help` imports all.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from tapeline import files
from tapeline.config.overrides import key_of, section_of
from tapeline.errors import Finding, Refused, nearest, refuse

NAMED_MODEL = ("dataset.name", "dataset.source", "experiment", "serving.name", "serving.store", "target.name")
"""Keys that say which model of which store a command is about."""


@dataclass(frozen=True)
class Option:
    """An option `name=value` of the command; other keys are overrides of the configuration."""

    name: str
    values: str
    """The choices, as in `true|false`; or a word in capitals, which stands for any text."""
    meaning: str
    default: str = ""
    """The default, as help shows it."""

    @property
    def is_word(self) -> bool:
        """Whether it is one of the command's WORDS, as `--in ARTIFACT=PATH`, which the command reads itself."""
        return self.name.startswith("--")

    @property
    def choices(self) -> tuple[str, ...]:
        """All values that it may have; empty for any text."""
        return tuple(self.values.split("|")) if "|" in self.values else ()


class Command(Protocol):
    """The interface of a command's module. Three more names are optional.

    GROUP: the heading in `tapeline --help`; the last one without it.
    READS: sections and keys of the configuration that overrides may change; all without it.
    WORDS: how words that are not key=value are written, as in `init [STORE]`; the command reads them itself.
    """

    HELP: str
    """One line."""
    OPTIONS: Sequence[Option]
    EXAMPLES: Sequence[tuple[str, str]]
    """Command lines, and what each does; two or more."""

    def run(self, overrides: list[str], options: dict[str, str]) -> object:
        """Do the work.

        Args:
            overrides: of the configuration, and words where the command has WORDS, in the order given.
            options: the values of its OPTIONS that were given.

        Raises:
            Refused: bad input.
        """


def names() -> list[str]:
    """All commands, as on the command line."""
    return [name.replace("_", "-") for name in files.modules("tapeline.commands")]


def load(name: str, others: Sequence[str] = ()) -> Command:
    """The module of a command.

    Args:
        name: as on the command line.
        others: more names for suggestions, for example make's own goals.

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
        Refused: an argument is not key=value, an option has an invalid value, or the command does not read a key; all
            mistakes at once.
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
                Finding(text, "is not a value of this option", f"choose one of: {', '.join(known[key].choices)}")
            )
        elif options.setdefault(key, value) != value:
            findings.append(Finding(text, f"{key} has two values", f"remove one: {key}={options[key]} or this"))
    if findings:
        raise Refused(*findings, *_composed_mistakes(name, command, overrides))
    return overrides, options


def _composed_mistakes(name: str, command: Command, overrides: Sequence[str]) -> Sequence[Finding]:
    """What is also wrong with the overrides of a line that is refused already, so that all is said at once."""
    if not overrides or words_of(command) or getattr(command, "READS", None) == () or name in ("runs", "sweep"):
        return ()
    from tapeline.checks import before_build, configured

    try:
        configured(overrides, before_build)
    except Refused as error:
        return error.findings
    return ()


def _unread(name: str, command: Command, text: str) -> Iterator[Finding]:
    """Findings about an argument that is not an option of the command; the configuration validates its value."""
    reads = getattr(command, "READS", None)
    if words_of(command) and (reads is None or "=" not in text or section_of(text) not in _sections()):
        return
    options = [option.name for option in command.OPTIONS]
    if text.startswith("-"):
        key = text.lstrip("-").partition("=")[0]
        yield Finding(text, "options are key=value", nearest(key, options, otherwise="remove the -"))
        return
    if "=" not in text and not text.startswith("~"):
        yield Finding(text, "is not a key=value", "write it as in model=deep")
        return
    section = section_of(text)
    sections = _sections()
    if section in sections and reads is not None and not _is_read(text, (*reads, "hydra")):
        what = f"it reads {', '.join(reads)}" if reads else "it reads no configuration"
        key = key_of(text) if any(section_of(each) == section for each in reads) else section
        yield Finding(text, f"{name} does not read {key}", f"remove it; {what}")
    elif section not in sections:
        close = nearest(section, [*sections, *options], otherwise="")
        if reads == () or any(close == f"did you mean {option}?" for option in options):
            yield Finding(text, f"unknown option of {name}", close or f"remove it; see tapeline {name} --help")


def _is_read(text: str, reads: Sequence[str]) -> bool:
    """Whether a command that reads these sections and keys reads what an override changes; an option changes all."""
    key = key_of(text)
    return any(f"{key}.".startswith(f"{each}.") or f"{each}.".startswith(f"{key}.") for each in reads)


def _sections() -> list[str]:
    """The sections: the first part of a key."""
    from dataclasses import fields

    from tapeline.config.schema import NO_KEYS, Config

    return [*(field.name for field in fields(Config) if field.name not in NO_KEYS), "hydra"]


def words_of(command: Command) -> str:
    """How words that are not key=value are written; "" where a command has none."""
    return str(getattr(command, "WORDS", ""))
