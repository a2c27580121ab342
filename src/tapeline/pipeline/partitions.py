"""A step that is mapped over partitions: its program runs once for each, in parallel processes.

Each part is `<id>.parquet` and `<id>.json` (rows, first and last time, digest) in one folder.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.console import LOG
from tapeline.errors import Finding, Refused, choose, refuse
from tapeline.pipeline.graph import Step
from tapeline.tables.parts import write_facts
from tapeline.tables.spec import wrong_ids


def run_parts(
    step: Step,
    config: object,
    inputs: Mapping[str, Path | None],
    folder: Path,
    processes: int | None = None,
    only: str | None = None,
) -> None:
    """Run a mapped step: `partitions` of its module says the ids, `run` makes one part.

    The parts do not depend on the number of processes.

    Args:
        step: mapped over partitions.
        config: its `Reads`.
        inputs: paths by artifact.
        folder: that the parts go to; it does not exist yet.
        processes: at most; None: one a core.
        only: the id of the one part to make, in this process; None: all.

    Raises:
        Refused: ids that cannot name files, or what is wrong with the parts, of all parts at once.
    """
    ids: Sequence[str] = step.module().partitions(config, **inputs)
    if findings := list(wrong_ids(ids)):
        raise Refused(*findings)
    if only is not None and only not in ids:
        raise refuse(f"partition {only}", "there is no such partition", choose(only, sorted(ids)))
    folder.mkdir(parents=True)
    if only is not None:
        # a process of its own would hide from the cluster that this one was out of memory
        if wrong := _part((step, config, dict(inputs), folder, only)):
            raise Refused(*wrong)
        return
    jobs = [(step, config, dict(inputs), folder, name) for name in sorted(ids)]
    # fork would copy the locks of threads that TensorFlow and Polars have started
    context = multiprocessing.get_context("spawn")
    number = min(processes or os.cpu_count() or 1, max(len(jobs), 1))
    with ProcessPoolExecutor(number, mp_context=context) as pool:
        for name, wrong in zip(sorted(ids), pool.map(_part, jobs), strict=True):
            findings += wrong
            LOG.info("    %s: part %s", step.name, name)
    if findings:
        raise Refused(*findings)


def _part(job: tuple[Step, object, dict[str, Path | None], Path, str]) -> Sequence[Finding]:
    """Make one part in its own process; return findings about it."""
    step, config, inputs, folder, name = job
    try:
        with files.atomic_path(folder / f"{name}.parquet") as path:
            facts: Mapping[str, Any] = step.program()(config, partition=name, part=path, **inputs)
    except Refused as error:
        return error.findings
    write_facts(folder, name, facts)
    return ()
