"""Rules that a schema cannot say, one function each: a rule yields what it finds wrong."""

from __future__ import annotations

from collections.abc import Iterable

from tapeline.checks.configuration import RULES, Rule, target_runs_here
from tapeline.config import Config
from tapeline.errors import Refused


def before_run(config: Config) -> None:
    """Apply the rules about a configuration that is to run on this machine.

    Raises:
        Refused: all findings at once.
    """
    _apply(config, (*RULES, target_runs_here))


def before_build(config: Config) -> None:
    """Apply the rules about a configuration that is to run anywhere, as in a container.

    Raises:
        Refused: all findings at once.
    """
    _apply(config, RULES)


def _apply(config: Config, rules: Iterable[Rule]) -> None:
    findings = [finding for rule in rules for finding in rule(config)]
    if findings:
        raise Refused(*findings)
