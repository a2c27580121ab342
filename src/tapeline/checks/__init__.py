"""Rules that a schema cannot express. A rule is a function that yields a Finding for each mistake.

`tapeline check` applies all rules. `run` and `build` apply those about their configuration first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from tapeline.checks.configuration import study_can_be_shared, target_is_local, tracker_is_installed
from tapeline.checks.registry import rules
from tapeline.config.overrides import section_of
from tapeline.config.schema import Cluster, Config
from tapeline.errors import Finding, Refused
from tapeline.lookup import configure

DECISIVE = ("dataset", "debug", "experiment")
"""Groups that decide which keys the other sections have."""


def before_run(config: Config) -> None:
    """Apply the rules about a configuration that will run on this machine.

    Raises:
        Refused: all findings at once.
    """
    extra = (target_is_local, tracker_is_installed, study_can_be_shared)
    _refuse(finding for rule in (*rules("configuration"), *extra) for finding in rule(config))


def configured(overrides: Sequence[str], apply: Callable[[Config], None] = before_run) -> Config:
    """The configuration that overrides make, checked by its schema and by rules.

    Raises:
        Refused: all mistakes at once: those of the schema, and those that the rules find in the other sections.
    """
    try:
        config = configure(overrides)
    except Refused as error:
        raise Refused(*error.findings, *_of_other_sections(overrides, error.findings, apply)) from None
    apply(config)
    return config


def _of_other_sections(
    overrides: Sequence[str], found: Sequence[Finding], apply: Callable[[Config], None]
) -> list[Finding]:
    """What is wrong with the overrides of those sections in which nothing was found yet.

    Nothing where the wrong ones decide about the others, as dataset does.
    """
    wrong = {section_of(each.where) for each in found}
    others = [text for text in overrides if section_of(text) not in wrong]
    if not others or len(others) == len(overrides) or wrong & {*DECISIVE}:
        return []
    try:
        configured(others, apply)
    except Refused as error:
        given = {section_of(text) for text in others}
        return [each for each in error.findings if section_of(each.where) in given]
    return []


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
