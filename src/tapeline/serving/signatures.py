"""The signatures of a servable, as TensorFlow functions.

    serving_default     predictors float32 [None, features...] to the outputs
    <input's name>      the same outputs from another input that the dataset declares, as `closes` of indices

Every signature also returns model_version, a string per row. Where the features of a row cannot be computed from the
other input, floating-point outputs of that row are NaN and integer outputs are -1: TF Serving cannot refuse one row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapeline import tensorflow as tf
from tapeline.tables.spec import Input

DEFAULT = "serving_default"
"""TF Serving's default signature."""
PREDICTORS = "predictors"
"""The input of the default signature."""
Function = Callable[[Any], dict[str, Any]]
"""A tensor to output tensors by name; the first dimension of each is the rows."""


def build(model: Function, model_version: str, feature_shape: Sequence[int], inputs: Sequence[Input]) -> dict[str, Any]:
    """The TensorFlow functions to export, by signature name.

    Args:
        model: float32 [rows, *feature_shape] to the outputs.
        model_version: what the output of this name returns.
        feature_shape: the shape of one row's features.
        inputs: the other inputs, one signature each.
    """
    tensorflow = tf.load()

    def signature(name: str, shape: Sequence[int], dtype: Any, function: Function) -> Any:
        def serve(values: Any) -> dict[str, Any]:
            version = tensorflow.repeat(tensorflow.constant(model_version), tensorflow.shape(values)[0])
            return {**function(values), "model_version": version}

        spec = tensorflow.TensorSpec([None, *shape], dtype, name=name)
        return tensorflow.function(serve, input_signature=[spec])

    signatures = {DEFAULT: signature(PREDICTORS, feature_shape, tensorflow.float32, model)}
    for each in inputs:
        signatures[each.name] = signature(each.name, each.shape, each.dtype, _from_input(model, each))
    return signatures


def _from_input(model: Function, source: Input) -> Function:
    """The model as a function of another input; rows without finite features get NaN or -1.

    Tree ensembles would return a number for NaN features, too, so the outputs are masked here.
    """
    tensorflow = tf.load()

    def function(values: Any) -> dict[str, Any]:
        features = source.features(values)
        finite = tensorflow.reduce_all(tensorflow.math.is_finite(features), axis=1)
        outputs = {}
        for name, output in model(features).items():
            mask = tensorflow.reshape(finite, [-1] + [1] * (len(output.shape) - 1))
            missing = tensorflow.constant(np.nan if output.dtype.is_floating else -1, output.dtype)
            outputs[name] = tensorflow.where(mask, output, missing)
        return outputs

    return function
