"""One step, or several in their order, as a program, for containers and for debugging.

    tapeline step train model=flat --in table=table.parquet --out fitted=fitted
    tapeline step ingest,features --out table=table.parquet

An output parameter is an output too: `--out accepted=PATH`. What is not named is not kept.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tapeline import files, workers
from tapeline.checks import before_build
from tapeline.clusters import built
from tapeline.clusters.step_arguments import IN, Call, read, wrong_paths
from tapeline.config.overrides import parse
from tapeline.config.schema import Config
from tapeline.console import LOG, logged
from tapeline.errors import Finding, Refused
from tapeline.lookup import configure
from tapeline.pipeline import cache, cache_key, shared_cache
from tapeline.pipeline.execution import execute
from tapeline.pipeline.graph import Parameters, Step, artifacts, present


def run(arguments: Sequence[str]) -> None:
    """Run the steps in their order; outputs get their names when all are complete.

    Where the arguments have what a builder saw of the configuration, it must be what conf/ composes here.

    Raises:
        Refused: the configuration differs from that of the build, artifacts are not those that the steps
            take and make, or what a step refuses.
    """
    call = read(arguments)
    config = configure(call.overrides)
    # a pod has the overrides of what its own step reads, and cannot know which other steps there are
    steps = call.steps(present(config))
    if call.built is not None:
        # a pod has the overrides of what its steps read, so rules across sections are for the builder
        built.check(call.built, config, call.submitted, steps)
    if parse(call.submitted):
        config = configure([*call.overrides, *call.submitted])
    if call.built is None and any(step.world == "watched" for step in steps):
        # the first step answers for the whole configuration; a person need not repeat it for others
        before_build(config)
    absent = (
        Finding(f"{IN} {name}={path}", "there is no such file", "give an output of a step")
        for name, path in call.inputs.items()
        if not path.exists()
    )
    if findings := [*wrong_paths(call, steps), *absent]:
        raise Refused(*findings)
    parameters = _run(call, steps, config)
    for name, value in parameters.items():
        if name in call.outputs:
            files.write_bytes(call.outputs[name], value.encode())
    if call.launched:
        call.launched.write({name: path for name, path in call.outputs.items() if path.exists()})


def _run(call: Call, steps: Sequence[Step], config: Config) -> Parameters:
    paths = {**call.inputs, **{name: path for name, path in call.optional.items() if path.exists()}}
    parameters, shared = Parameters(), shared_cache.connect(config.target)
    with logged(), ExitStack() as stack:
        unnamed = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for step in steps:
            if len(steps) > 1:
                LOG.info("%s", step.name)
            outputs = dict[str, Path]()
            for made in step.makes:
                path = None if made.optional else call.outputs.get(made.name)
                outputs[made.name] = stack.enter_context(files.atomic_path(path)) if path else unnamed / made.file
            parameters |= _one(step, config, paths, outputs, shared, call.part)
            paths |= {name: path for name, path in outputs.items() if path.exists()}
        for made in artifacts(steps).values():
            if made.optional and made.name in call.outputs and made.name in paths:
                target = stack.enter_context(files.atomic_path(call.outputs[made.name]))
                shutil.copy(paths[made.name], target)
    return parameters


def _one(
    step: Step,
    config: Config,
    paths: Mapping[str, Path],
    outputs: Mapping[str, Path],
    shared: shared_cache.Shared | None,
    part: str | None,
) -> Parameters:
    """Take a step from the shared cache, or run it and add it there."""
    as_files = any(made.folder and outputs[made.name].suffix for made in step.makes)
    # the key of an entry says nothing of a single part
    if shared is None or as_files or part is not None or workers.is_worker():
        return execute(step, config, paths, outputs, part=part)
    inputs = {name: files.digest_path(paths[name]) for name in step.inputs if name in paths}
    known = shared.known(cache.Known(cache.local_folder(config.target.cache)))
    wanted = cache_key.parts(step, config, inputs, known)
    if wanted is None:
        return execute(step, config, paths, outputs)
    with tempfile.TemporaryDirectory() as folder:
        if found := shared.fetch(step, wanted, Path(folder)):
            for made in (each for each in step.makes if each.name in found.digests):
                shutil.move(Path(folder) / made.file, outputs[made.name])
            LOG.info("  %-10s cached", step.name)
            return found.parameters
    changed = cache.why(shared.entries_of(step), wanted)
    LOG.info("  %-10s runs because %s", step.name, ", ".join(changed) or "it never ran before")
    started = time.perf_counter()
    parameters = execute(step, config, paths, outputs)
    ready = {made.name: outputs[made.name] for made in step.makes if outputs[made.name].exists()}
    shared.offer(step, wanted, ready, parameters, time.perf_counter() - started)
    return parameters
