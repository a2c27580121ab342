"""Rules that a schema cannot say, one function each: a rule yields what it finds wrong."""

from __future__ import annotations

from tapeline.checks.configuration import RULES
from tapeline.config import Config
from tapeline.errors import Refused


def before_run(config: Config) -> None:
    """Apply the rules about this configuration.

    Raises:
        Refused: all findings at once.
    """
    findings = [finding for rule in RULES for finding in rule(config)]
    if findings:
        raise Refused(*findings)
