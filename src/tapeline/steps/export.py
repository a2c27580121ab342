"""The last window's model as a SavedModel.

tapeline step export --in sample=sample.parquet --in fitted=fitted --out servable=servable
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tapeline import files
from tapeline import tensorflow as tf
from tapeline.lookup import family, signatures, spec, task
from tapeline.models import fitted as fits
from tapeline.serving import saved_model as servables
from tapeline.tables.table import open_table

VERSION_DIGITS = 12
WARM_UP_ROWS = 8


@dataclass(frozen=True)
class Name:
    """Keys of serving."""

    name: str


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""

    serving: Name


def space(config: Reads, *, sample: Path, fitted: Path) -> int:
    """Bytes of disk that `run` needs at most, about: weights as variables and in the graph."""
    return 2 * files.size([sample, fitted])


def run(config: Reads, *, sample: Path, fitted: Path, servable: Path) -> None:
    """Write the servable; its `model_version` is the digest of weights, feature names and name."""
    data, fit = open_table(sample), fits.read(fitted)
    names = data.manifest.names("feature")
    last = fits.window(fitted, len(fit.windows) - 1)
    name = config.serving.name
    version = files.digest(files.digest_path(last), names, name)[:VERSION_DIGITS]
    tensorflow = tf.load(fit.threads)
    about = {
        "schema": 1,
        "name": name,
        "model_version": version,
        "family": fit.family,
        "task": fit.task,
        "features": names,
        "last_label": fit.last_label,
        "data": data.manifest.digest,
        "tensorflow": tensorflow.__version__,
    }
    module = family(fit.family)
    model = module.servable(module.load(last, task(fit.task)))
    rows = data.read(["feature"])["feature"]
    missing = spec(data.manifest.dataset).missing_features
    servables.write(model, about, rows[-WARM_UP_ROWS:], servable, signatures(data.manifest), missing=missing)
