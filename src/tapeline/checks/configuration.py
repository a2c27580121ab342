"""Rules across keys of the configuration, applied before every run and build."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from tapeline.config.compose import options
from tapeline.config.schema import Config
from tapeline.errors import Finding, Refused, choose
from tapeline.lookup import dataset as kind
from tapeline.lookup import family, has_series, source, sources, task
from tapeline.models.device import Device
from tapeline.serving.saved_model import SERVERS, release
from tapeline.tables import splits
from tapeline.tasks import Metric
from tapeline.tuning import database, space
from tapeline.tuning.trials import Problem

CODE_FOR: dict[tuple[int, ...], tuple[str, ...]] = {
    (2, 14): ("3.5", "3.7", "5.0", "5.2", "6.0", "6.1", "7.0", "7.5", "8.0", "8.6", "8.9", "9.0"),
    (2, 20): ("6.0", "6.1", "7.0", "7.5", "8.0", "8.6", "8.9", "9.0"),
}
"""Compute capabilities that TensorFlow's wheels support, from each build_info.py."""


def metric_fits_task(config: Config) -> Iterator[Finding]:
    """The gate's metric is one of the dataset's task."""
    known = _metrics(config)
    if config.gate.metric not in known:
        fix = choose(config.gate.metric, list(known))
        yield Finding(f"gate.metric={config.gate.metric}", "is not a metric of this dataset", fix)


def _metrics(config: Config) -> dict[str, Metric]:
    return {each.name: each for each in task(kind(config.dataset).SPEC.task).METRICS}


def threshold_can_be_met(config: Config) -> Iterator[Finding]:
    """The threshold lies in the metric's range; it is strict."""
    threshold, metric = config.gate.threshold, _metrics(config).get(config.gate.metric)
    if metric is None or threshold is None or metric.allows(threshold):
        return
    if metric.better == "higher":
        problem = f"{metric.name} is {'never' if threshold >= metric.high else 'always'} above it"
        ends = (f"that is at least {metric.low:g} and " if math.isfinite(metric.low) else "") + f"below {metric.high:g}"
    else:
        problem = f"{metric.name} is {'never' if threshold <= metric.low else 'always'} below it"
        ends = f"above {metric.low:g}" + (f" and at most {metric.high:g}" if math.isfinite(metric.high) else "")
    yield Finding(f"gate.threshold={threshold:g}", problem, f"set a number {ends}")


def baselines_have_the_metric(config: Config) -> Iterator[Finding]:
    """Baselines have no probabilities, so the metric of a margin must not need them."""
    known = _metrics(config)
    metric, margin = known.get(config.gate.metric), config.gate.baseline_margin
    if metric and margin is not None and metric.needs_probability:
        others = [each.name for each in known.values() if not each.needs_probability]
        yield Finding(
            f"gate.baseline_margin={margin:g}",
            f"baselines have no {metric.name}, which needs probabilities",
            f"set gate.baseline_margin=null, or choose gate.metric={others[0]}",
        )


def confidence_has_its_margin(config: Config) -> Iterator[Finding]:
    """gate.confidence is about the lead over the best baseline, so it needs gate.baseline_margin."""
    gate = config.gate
    if gate.confidence is not None and gate.baseline_margin is None:
        problem = "is not read, since gate.baseline_margin=null"
        yield Finding(f"gate.confidence={gate.confidence:g}", problem, "set gate.baseline_margin=0 too")


def family_supports_dataset(config: Config) -> Iterator[Finding]:
    """The family can learn what the dataset declares."""
    spec = kind(config.dataset).SPEC
    found = family(config.model.family).supports(spec)
    if found:
        others = [name for name in options("model") if family(name).supports(spec) is None]
        fix = f"choose model={' or model='.join(others)}" if others else found.fix
        yield Finding(f"{found.where}={config.model.family}", found.problem, fix)


def family_uses_weights(config: Config) -> Iterator[Finding]:
    """Weights of the train rows are set only where the family uses them."""
    key = config.dataset.sample_weights
    if key and not hasattr(family(config.model.family), "WEIGHTS"):
        others = [name for name in options("model") if hasattr(family(name), "WEIGHTS")]
        problem = f"model={config.model.family} trains all rows alike"
        fix = f"choose model={' or model='.join(others)}, or remove it"
        yield Finding(f"dataset.{key}={getattr(config.dataset, key)}", problem, fix)


def source_has_its_path(config: Config) -> Iterator[Finding]:
    """A source has the keys that it needs, and no key is set that it does not read."""
    dataset = config.dataset
    try:
        module = source(dataset)
    except Refused as error:
        yield from error.findings
        return
    known = sources()
    for key in dict.fromkeys(key for each in known.values() for key in each.READS):
        value = getattr(dataset, key, None)
        readers = [name for name, each in known.items() if key in each.READS]
        if value and dataset.source not in readers:
            what = f"dataset.{key}={value}" if isinstance(value, str) else f"dataset.{key}"
            others = f" (or {', '.join(readers[1:])})" if readers[1:] else ""
            fix = f"set dataset.source={readers[0]}{others} too"
            yield Finding(what, f"is not read, since dataset.source={dataset.source}", fix)
    yield from module.check(dataset)


def limits_have_series(config: Config) -> Iterator[Finding]:
    """Limits of holes and moves are of a dataset's series."""
    for key in ("max_gap_days", "max_move"):
        value = getattr(config.dataset, key)
        if value is not None and not has_series(config.dataset):
            problem = f"is not read, since the dataset {config.dataset.name} has no series"
            yield Finding(f"dataset.{key}={value:g}", problem, f"leave dataset.{key}=null")


def split_fits_the_data(config: Config) -> Iterator[Finding]:
    """No train label reaches into test rows, and rows with a time are not split at random."""
    yield from splits.findings(config.split, kind(config.dataset).SPEC)


def search_fits_the_model(config: Config) -> Iterator[Finding]:
    """A search has keys and values that the model takes, and what it needs to compare trials."""
    tune = config.tune
    if tune is None:
        return
    spec = kind(config.dataset).SPEC
    yield from space.findings(tune, config.model, config.split, task(spec.task), spec)
    card = config.hw.accelerator
    if card and tune.parallel > 1 and config.model.trains_with_tensorflow:
        problem = f"{tune.parallel} processes would share {card.model}, and each takes all of its memory"
        yield Finding(f"tune.parallel={tune.parallel}", problem, "set tune.parallel=1")


def workers_can_train_the_model(config: Config) -> Iterator[Finding]:
    """Several workers train only a family that can, and on CPUs."""
    if config.hw.workers == 1:
        return
    where = f"hw.workers={config.hw.workers}"
    if not hasattr(family(config.model.family), "WORKERS"):
        spec = kind(config.dataset).SPEC
        can = (name for name in options("model") if hasattr(family(name), "WORKERS"))
        others = [name for name in can if family(name).supports(spec) is None]
        problem = f"model={config.model.family} trains in one process"
        fix = " or ".join(["set hw.workers=1", *(f"choose model={name}" for name in others)])
        yield Finding(where, problem, fix)
    elif config.hw.accelerator:
        problem = f"each worker would take a {config.hw.accelerator.model}, and several of them train on CPUs"
        yield Finding(where, problem, "choose hw=cpu, or set hw.workers=1")


def image_supports_the_gpu(config: Config) -> Iterator[Finding]:
    """TensorFlow supports the GPU; otherwise it would train on the CPU without a message."""
    card, version = config.hw.accelerator, release(config.hw.tensorflow)
    if card and card.compute_capability not in CODE_FOR.get(version, ()):
        yield Finding(
            f"hw.tensorflow={config.hw.tensorflow}",
            f"does not support {card.model}, compute capability {card.compute_capability}",
            "choose another hw, of: " + ", ".join(options("hw")),
        )


def servers_can_load_it(config: Config) -> Iterator[Finding]:
    """The servers may not load a model that a later TensorFlow wrote."""
    if release(config.hw.tensorflow) > SERVERS:
        served = ".".join(map(str, SERVERS))
        yield Finding(
            f"hw.tensorflow={config.hw.tensorflow}",
            f"is later than TensorFlow {served} of the servers",
            f"train with {served}",
        )


def target_is_local(config: Config) -> Iterator[Finding]:
    """`run` needs target=local."""
    if config.target.name != "local":
        yield Finding(
            f"target={config.target.name}",
            "does not run on this machine",
            "use target=local, or make build and make submit",
        )


def tracker_is_installed(config: Config) -> Iterator[Finding]:
    """`track` needs a package that is in no lock file of a run."""
    if config.track and find_spec(config.track.name) is None:
        where, fix = f"track={config.track.name}", "install tapeline[mlflow], as in .venv/bin/pip install mlflow-skinny"
        yield Finding(where, f"{config.track.name} is not installed", fix)


def study_can_be_shared(config: Config) -> Iterator[Finding]:
    """The database of a search answers, and has no other study of this name."""
    if config.tune is None or config.tune.storage is None:
        return
    hw = Device(config.hw.name, config.hw.threads, config.hw.required, config.hw.accelerator)
    try:
        database.check(Problem(config.tune, config.model, config.split, config.seed, hw, Path()))
    except Refused as error:
        yield from error.findings


Rule = Callable[[Config], Iterable[Finding]]
ABOUT = "configuration"
RULES: tuple[Rule, ...] = (
    metric_fits_task,
    threshold_can_be_met,
    baselines_have_the_metric,
    confidence_has_its_margin,
    family_supports_dataset,
    family_uses_weights,
    source_has_its_path,
    limits_have_series,
    split_fits_the_data,
    search_fits_the_model,
    workers_can_train_the_model,
    image_supports_the_gpu,
    servers_can_load_it,
)
"""Rules for every run and every build."""
