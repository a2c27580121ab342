"""The signatures of a servable, as TensorFlow functions.

    serving_default     predictors float32 [None, numbers] to the outputs; an array a row is flattened
    <a dataset's own>   the same outputs from the inputs that the dataset declares, as `closes` of indices

Every signature also returns model_version, a string per row. Where the features of a row are NaN or infinite, or cannot
be computed from its inputs, floating-point outputs of that row are NaN and integer outputs are -1: TF Serving cannot
refuse one row. A model that learnt from missing features takes NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tapeline import tensorflow as tf
from tapeline.tables.spec import InputSpec, SignatureSpec

DEFAULT = "serving_default"
"""TF Serving's default signature."""
PREDICTORS = "predictors"
"""The input of the default signature."""
Array = np.ndarray[Any, Any]
Function = Callable[[Any], dict[str, Any]]
"""A tensor to output tensors by name; the first dimension of each is the rows."""


def build(
    model: Function,
    model_version: str,
    feature_shape: Sequence[int],
    others: Sequence[SignatureSpec],
    *,
    missing: bool = False,
) -> dict[str, Any]:
    """The TensorFlow functions to export, by signature name.

    Args:
        model: float32 [rows, *feature_shape] to the outputs.
        model_version: what the output of this name returns.
        feature_shape: the shape of one row's features.
        others: the signatures beside the default one.
        missing: NaN is a missing feature, which the model takes.
    """
    tensorflow = tf.load()

    def signature(inputs: Sequence[InputSpec], function: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Any:
        def serve(*tensors: Any) -> dict[str, Any]:
            version = tensorflow.repeat(tensorflow.constant(model_version), tensorflow.shape(tensors[0])[0])
            values = {each.name: tensor for each, tensor in zip(inputs, tensors, strict=True)}
            return {**function(values), "model_version": version}

        specs = [tensorflow.TensorSpec([None, *each.shape], dtype_of(each), name=each.name) for each in inputs]
        return tensorflow.function(serve, input_signature=specs)

    predictors = InputSpec(PREDICTORS, (math.prod(feature_shape),), "float32")

    def default(inputs: Mapping[str, Any]) -> dict[str, Any]:
        features = inputs[PREDICTORS]
        usable = tensorflow.math.is_finite(features)
        if missing:
            usable = usable | tensorflow.math.is_nan(features)
        shaped = features if len(feature_shape) == 1 else tensorflow.reshape(features, [-1, *feature_shape])
        answered = tensorflow.reduce_all(usable, axis=1)
        return {name: _masked(output, answered) for name, output in model(shaped).items()}

    return {
        DEFAULT: signature([predictors], default),
        **{each.name: signature(each.inputs, _from_inputs(model, each)) for each in others},
    }


def dtype_of(spec: InputSpec) -> Any:
    """TensorFlow's type of an input."""
    return tf.load().string if spec.dtype == "str" else tf.load().as_dtype(spec.dtype)


def example(spec: InputSpec, rows: int) -> Array:
    """An array [rows, *shape] of the input's example."""
    dtype = object if spec.dtype == "str" else spec.dtype
    value = np.empty((), object) if dtype is object else np.asarray(spec.example, dtype)
    if dtype is object:
        value[()] = spec.example
    return np.array(np.broadcast_to(value, (rows, *spec.shape)))


def _from_inputs(model: Function, spec: SignatureSpec) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The model as a function of a signature's inputs; rows without answer get NaN or -1.

    Tree ensembles would return a number for NaN features, too, so the outputs are masked here.
    """
    tensorflow = tf.load()

    def function(inputs: Mapping[str, Any]) -> dict[str, Any]:
        features = spec.features(inputs)
        if spec.answered is None:
            finite = tensorflow.math.is_finite(features)
            answered = tensorflow.reduce_all(finite, axis=list(range(1, len(features.shape))))
        else:
            answered = spec.answered(inputs)
        outputs = model(features)
        if spec.outputs is not None:
            outputs = {**outputs, **spec.outputs(inputs, outputs)}
        return {name: _masked(output, answered) for name, output in outputs.items()}

    return function


def _masked(output: Any, answered: Any) -> Any:
    """The output, with NaN or -1 in the rows that get no answer."""
    tensorflow = tf.load()
    mask = tensorflow.reshape(answered, [-1] + [1] * (len(output.shape) - 1))
    missing = tensorflow.constant(np.nan if output.dtype.is_floating else -1, output.dtype)
    return tensorflow.where(mask, output, missing)
