"""Overrides as Hydra reads them, parsed once: no other module takes their text apart."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tapeline.errors import Finding, Refused, refuse

Op = Literal["set", "add", "force", "delete"]
PREFIX: dict[Op, str] = {"set": "", "add": "+", "force": "++", "delete": "~"}


@dataclass(frozen=True)
class Override:
    """One override: `model.steps=500`, `+split.windows=3`, `~model.hidden`."""

    op: Op
    key: str
    """A dotted key, or a group as `model` or `hydra/launcher`."""
    value: Any
    """Parsed, interpolations as text; a list of the values of a sweep over choices, Hydra's object of other sweeps."""
    text: str
    """As given."""
    sweep: bool = False
    """Has several values."""

    @property
    def section(self) -> str:
        """The first part of the key: the section of the configuration that it changes."""
        return section_of(self.text)

    @property
    def assignment(self) -> str:
        """The text without the sign in front: model.steps=500."""
        return self.text.removeprefix(PREFIX[self.op])

    @property
    def value_text(self) -> str:
        """What stands behind the first `=`."""
        return self.text.partition("=")[2]

    @property
    def forced(self) -> str:
        """The text for Hydra with which it takes a key that no file has; validation names unknown ones."""
        return self.text if self.op == "delete" else f"++{self.assignment}"


def section_of(text: str) -> str:
    """The first part of an override's key, where nothing else of it matters yet."""
    return re.split(r"[=./@]", text.lstrip("+~"), maxsplit=1)[0]


def key_of(text: str) -> str:
    """The key of an override, with dots, where nothing else of it matters yet: hydra/launcher is hydra.launcher."""
    return re.split(r"[=@]", text.lstrip("+~"), maxsplit=1)[0].replace("/", ".")


def parse(texts: Iterable[str]) -> tuple[Override, ...]:
    """Parse overrides. `key=` with nothing behind it means as configured, and is left out.

    Raises:
        Refused: all that Hydra's grammar cannot read.
    """
    parsed, findings = list[Override](), list[Finding]()
    for text in texts:
        try:
            parsed.append(_parse(text))
        except Refused as error:
            findings += error.findings
    if findings:
        raise Refused(*findings)
    return tuple(each for each in parsed if each.value != "" or not each.text.endswith("="))


def _parse(text: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep, OverrideType
    from hydra.errors import HydraException

    ops: dict[OverrideType, Op] = {
        OverrideType.CHANGE: "set",
        OverrideType.ADD: "add",
        OverrideType.FORCE_ADD: "force",
        OverrideType.DEL: "delete",
    }
    try:
        found = OverridesParser.create().parse_override(text)
    except HydraException:
        quoted = text.partition("=")[0] + "='\"...\"'"
        fix = f"write key=value, and text with quotes as {quoted}"
        raise refuse(text, "Hydra cannot read this override", fix) from None
    # of sweeps, glob(...), range(...) and interval(...) have no list
    value = found.value()
    value = list(value.list) if isinstance(value, ChoiceSweep) else value
    return Override(ops[found.type], str(found.key_or_group), value, text, found.is_sweep_override())


def check_plain(text: str) -> None:
    """Check a parameter of a submitted run, which nothing on its way may take for more than a value.

    Raises:
        Refused: its value could be read as Hydra's syntax, a shell's, or a cluster's.
    """
    key, _, value = text.partition("=")
    if not re.fullmatch(r"[\w.:/@%+?-]*", value, re.ASCII):
        problem = "a submitted parameter has letters, digits and any of _ . : / @ % + ? - only"
        raise refuse(text, problem, f"give a plain value, or build {key} into the template with make build")
