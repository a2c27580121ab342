"""The commands: `tapeline verify-cluster` is the module `verify_cluster` in this folder, found by its file name.

What a module offers is `Command`. It imports at its top only what is light, since `tapeline --help` imports all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Option:
    """A `name=value` that a command reads itself; other keys are overrides of the configuration."""

    name: str
    values: str
    """The choices, as in `true|false`; or a word in capitals, which stands for any text."""
    meaning: str
    default: str = ""
    """What holds without it, for people to read."""

    @property
    def is_word(self) -> bool:
        """Whether it is one of the command's WORDS, as `--in ARTIFACT=PATH`, which the command reads itself."""
        return self.name.startswith("--")

    @property
    def choices(self) -> tuple[str, ...]:
        """All values that it may have; empty for any text."""
        return tuple(self.values.split("|")) if "|" in self.values else ()


class Command(Protocol):
    """What the module of a command offers. Three more names are optional.

    GROUP: the heading in `tapeline --help`; the last one without it.
    READS: sections and keys of the configuration that overrides may change; all without it.
    WORDS: how words that are no key=value are written, as in `init [STORE]`; the command reads them itself.
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
