"""Free disk space, checked before a step starts.

A step that writes much has `space(config, **inputs)` in its module: the bytes that it needs at most, about.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tapeline import files
from tapeline.console import LOG
from tapeline.pipeline.graph import Step

WORTH_A_LINE = 10**9
"""Bytes; a step that needs less does not log it."""


def check_space(step: Step, config: object, inputs: Mapping[str, Path | None], outputs: Mapping[str, Path]) -> None:
    """Log how much disk space the step needs; refuse where less is free.

    Args:
        step: that is about to start.
        config: its `Reads`.
        inputs: paths by artifact.
        outputs: paths by artifact, which may not exist yet.

    Raises:
        Refused: less space is free where the outputs are written.
    """
    estimate = getattr(step.module(), "space", None)
    if estimate is None or not outputs:
        return
    needed, folder = int(estimate(config, **inputs)), next(iter(outputs.values())).parent
    free = files.require_space(folder, needed, f"the step {step.name}", "target.cache=/data/cache")
    if needed >= WORTH_A_LINE:
        shown = files.shown_size(needed), files.shown_size(free)
        LOG.info("  %-10s needs about %s of disk space; %s are free", step.name, *shown)
