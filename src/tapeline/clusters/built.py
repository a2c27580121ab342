"""The composed configuration that a build gives its pods, so that a pod whose conf/ differs refuses to run.

A pod composes the conf/ of its image from the overrides of the build. The argument `--built=JSON` has the
values that the builder saw of the keys that the pod's steps read, and for each group that a submitted run
may choose from a digest of each option.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tapeline.config import compose as conf
from tapeline.config.overrides import parse
from tapeline.config.schema import Config
from tapeline.errors import Finding, Refused, refuse
from tapeline.pipeline.graph import STEPS, Step

BUILT = "--built="
"""The start of the argument."""
FIX = "rebuild the image, or the template with make build, so that both have the same conf/"


def values(config: Config, steps: Iterable[Step], groups: Iterable[str] = ()) -> dict[str, Any]:
    """The values of the keys that steps read, and by `group=option` a digest of each option.

    The number of workers is in the template: no pod depends on it.
    """
    steps = tuple(steps)
    read = conf.values_of(config, [path for step in steps for path in step.reads])
    read = {key: value for key, value in read.items() if key not in {step.workers for step in STEPS}}
    options = {name: digest for group in groups for name, digest in conf.option_digests(group).items()}
    return dict(sorted({**read, **options}.items()))


def encode(built: Mapping[str, Any]) -> str:
    """Canonical JSON without two braces side by side, which clusters would take for template variables."""
    text = json.dumps(built, sort_keys=True, separators=(",", ":"), allow_nan=False)
    text = re.sub(r'"(?:[^"\\]|\\.)*"', lambda found: found[0].replace("{", "\\u007b").replace("}", "\\u007d"), text)
    while "}}" in text:
        text = text.replace("}}", "} }")
    return text


def check(text: str, config: Config, submitted: Sequence[str], steps: Sequence[Step]) -> None:
    """Compare what was built with what this conf/ composes.

    Args:
        text: what `encode` made.
        config: that the overrides of the build compose here, without the submitted ones.
        submitted: overrides of the submitted run.
        steps: that run here.

    Raises:
        Refused: each key that differs, with both values.
    """
    try:
        built = dict(json.loads(text))
    except (ValueError, TypeError):
        raise refuse(BUILT.rstrip("="), "is not a JSON mapping", "remove the argument, or build again") from None
    options = {key: value for key, value in built.items() if "=" in key}
    expected = {key: value for key, value in built.items() if key not in options}
    here = values(config, steps)
    findings = [*_different(expected, here), *_other_options(options, submitted)]
    if findings:
        raise Refused(*findings)


def _different(built: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[Finding]:
    for key in sorted({*built, *here}):
        if key not in here:
            yield Finding(key, f"built with {_shown(built[key])}, this image's conf/ has no such key", FIX)
        elif key not in built:
            yield Finding(key, f"built without it, this image's conf/ has {_shown(here[key])}", FIX)
        elif json.dumps(built[key], sort_keys=True) != json.dumps(here[key], sort_keys=True):
            yield Finding(key, f"built with {_shown(built[key])}, this image's conf/ has {_shown(here[key])}", FIX)


def _other_options(built: Mapping[str, str], submitted: Sequence[str]) -> Iterator[Finding]:
    for each in parse(submitted):
        if not conf.is_group(each.key):
            continue
        name = f"{each.key}={each.value}"
        here = conf.option_digests(each.key).get(name)
        if name not in built:
            yield Finding(name, "this option did not exist when the template was built", FIX)
        elif here != built[name]:
            other = f"this image's conf/ has {here}" if here else "this image's conf/ has no such option"
            yield Finding(name, f"built with an option of digest {built[name]}, {other}", FIX)


def _shown(value: Any) -> str:
    return "null" if value is None else json.dumps(value) if not isinstance(value, str) else value
