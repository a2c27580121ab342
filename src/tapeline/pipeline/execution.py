"""One step in this process: files in, files out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from tapeline.config.schema import Config
from tapeline.pipeline.disk import check_space
from tapeline.pipeline.graph import Parameters, Step

Reads = TypeVar("Reads")


def execute(
    step: Step,
    config: Config,
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    work: Path | None = None,
    part: str | None = None,
) -> Parameters:
    """Run one step; `outputs` must not exist yet.

    Args:
        step: of the graph of this configuration.
        config: the whole of it; the step sees what it reads.
        inputs: paths by artifact; one that the step need not have may be left out.
        outputs: paths by artifact, for all that it makes.
        work: the folder of unfinished work, for a step that resumes; None: a new one, which is removed.
        part: the only partition to make, of a step that is mapped over partitions; None: all.

    Returns:
        Its output parameters.

    Raises:
        Refused: by the step, or there is too little disk space for it.
    """
    arguments: dict[str, Any] = {name: inputs.get(name) for name in step.inputs}
    seen = view(config, step.view)
    check_space(step, seen, arguments, outputs)
    if step.map_over:
        from tapeline.pipeline.partitions import run_parts

        (made,) = step.makes
        run_parts(step, seen, arguments, outputs[made.name], only=part)
        return {}
    arguments |= {artifact.name: outputs[artifact.name] for artifact in step.makes}
    if step.store != "none":
        arguments["store"] = config.serving.store
    with tempfile.TemporaryDirectory() as folder:
        if step.resumes:
            arguments["work"] = work or Path(folder)
        return step.program()(seen, **arguments) or {}


def view(config: object, shape: type[Reads]) -> Reads:
    """The part of a configuration that a step reads, as the dataclass that its module declares."""
    hints = get_type_hints(shape)
    values = {name: getattr(config, name) for name in hints}
    nested = {name: view(value, hints[name]) for name, value in values.items() if is_dataclass(hints[name])}
    return shape(**{**values, **nested})
