"""Free disk space, checked before a step starts.

A step that writes much has `space(config, **inputs)` in its module: the bytes that it needs at most, about.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tapeline.console import LOG
from tapeline.errors import refuse
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
    needed, folder = int(estimate(config, **inputs)), _existing(next(iter(outputs.values())))
    free = shutil.disk_usage(folder).free
    if needed >= WORTH_A_LINE:
        LOG.info("  %-10s needs about %s of disk space; %s are free", step.name, _shown(needed), _shown(free))
    if needed > free:
        problem = f"the step {step.name} needs about {_shown(needed)} of disk space, and {_shown(free)} are free"
        raise refuse(folder, problem, "free some space, or choose another disk, for example target.cache=/data/cache")


def _existing(path: Path) -> Path:
    """The nearest folder above that exists."""
    return next(each for each in path.absolute().parents if each.is_dir())


def _shown(count: int) -> str:
    unit, size = next((each for each in (("GB", 10**9), ("MB", 10**6)) if count >= each[1]), ("kB", 1000))
    return f"{count / size:.3g} {unit}"
