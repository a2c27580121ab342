"""Features that may be missing, as networks take them: standardised, 0 where missing, with columns that say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tapeline import tensorflow as tf

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Scaling:
    """The statistics of the train rows, part of the model and of its servable."""

    mean: Array
    """float32 [features], of the values that are there; 0 where none is."""
    sd: Array
    """float32 [features]; 1 where the values are all the same."""
    indicators: Array
    """int64: the positions of the features that are missing in a train row. Each has an indicator column."""

    @property
    def width(self) -> int:
        """Columns of scaled features."""
        return len(self.mean) + len(self.indicators)


def of(features: Array) -> Scaling:
    """The scaling of float32 [train rows, features]; NaN and infinity are missing."""
    mean, sd = np.zeros(features.shape[1]), np.ones(features.shape[1])
    missing = np.zeros(features.shape[1], dtype=bool)
    for at, column in enumerate(features.T):
        known = column[np.isfinite(column)].astype(np.float64)
        missing[at] = len(known) < len(column)
        if len(known):
            mean[at], spread = known.mean(), known.std()
            sd[at] = spread if spread > np.finfo(np.float32).eps * np.abs(known).max() else 1.0
    return Scaling(mean.astype(np.float32), sd.astype(np.float32), np.flatnonzero(missing).astype(np.int64))


def scaled(scaling: Scaling, features: Any) -> Any:
    """The tensor that the first layer takes, float32 [rows, width], of float32 [rows, features]."""
    tensorflow = tf.load()
    known = tensorflow.math.is_finite(features)
    values = tensorflow.where(known, (features - scaling.mean) / scaling.sd, 0.0)
    absent = tensorflow.gather(tensorflow.logical_not(known), scaling.indicators, axis=1)
    return tensorflow.concat([values, tensorflow.cast(absent, tensorflow.float32)], axis=1)
