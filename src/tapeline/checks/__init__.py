"""Rules that a schema cannot express. A rule is a function that yields a Finding for each mistake.

`tapeline check` applies all rules. `run` and `build` apply those about their configuration first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from tapeline.checks.configuration import study_can_be_shared, target_is_local
from tapeline.checks.registry import rules
from tapeline.config.schema import Cluster, Config
from tapeline.errors import Finding, Refused


def before_run(config: Config) -> None:
    """Apply the rules about a configuration that will run on this machine.

    Raises:
        Refused: all findings at once.
    """
    extra = (target_is_local, study_can_be_shared)
    _refuse(finding for rule in (*rules("configuration"), *extra) for finding in rule(config))


def before_build(config: Config) -> None:
    """Apply the rules about a configuration that will run on a cluster or in a container.

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
    """Findings about a configuration and, for a cluster target, about its pods."""
    for rule in rules("configuration"):
        yield from rule(config)
    if isinstance(config.target, Cluster):
        for rule in rules("cluster"):
            yield from rule(config, config.target)


def _refuse(findings: Iterable[Finding]) -> None:
    if found := list(dict.fromkeys(findings)):
        raise Refused(*found)
