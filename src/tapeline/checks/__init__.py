"""Rules that a schema cannot say, one function each: a rule yields what it finds wrong.

tapeline check        all of them, over all that is here; before a run or a build, those about it
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from tapeline.checks import cluster, configuration
from tapeline.config.schema import Cluster, Config
from tapeline.errors import Finding, Refused


def before_run(config: Config) -> None:
    """Apply the rules about a configuration that is to run on this machine.

    Raises:
        Refused: all findings at once.
    """
    rules = (*configuration.RULES, configuration.target_runs_here, configuration.study_can_be_shared)
    _refuse(finding for rule in rules for finding in rule(config))


def before_build(config: Config) -> None:
    """Apply the rules about a configuration that is to run anywhere, as in a container.

    Raises:
        Refused: all findings at once.
    """
    _refuse(of_configuration(config))


def before_write(config: Config, texts: Mapping[str, str]) -> None:
    """Apply the rules about what a build emitted, by file name, before it is written.

    Raises:
        Refused: all findings at once.
    """
    from tapeline.checks.emitted import emitted

    folder = cast(Cluster, config.target).folder
    _refuse(emitted({f"{folder}/{name}": text for name, text in texts.items()}))


def of_configuration(config: Config) -> Iterable[Finding]:
    """What is wrong with a configuration, and with what a cluster would make of it."""
    for rule in configuration.RULES:
        yield from rule(config)
    for each in cluster.RULES if isinstance(config.target, Cluster) else ():
        yield from each(config, cast(Cluster, config.target))


def _refuse(findings: Iterable[Finding]) -> None:
    if found := list(dict.fromkeys(findings)):
        raise Refused(*found)
