"""The client's messages are those that TF Serving publishes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline import tensorflow as tf
from tapeline.serving import protos, tensors
from tapeline.serving.protos import tf_serving_pb2

MESSAGES = tf_serving_pb2.DESCRIPTOR.message_types_by_name


def published(name: str) -> Any:
    """The descriptor that tensorflow-serving-api or TensorFlow has of a message."""
    from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2

    modules = (tensor_pb2, tensor_shape_pb2, meta_graph_pb2, get_model_metadata_pb2, model_pb2, predict_pb2)
    (found,) = [each for module in modules if (each := module.DESCRIPTOR.message_types_by_name.get(name))]
    return found


def shape(field: Any) -> tuple[int, int, bool]:
    """Number, type and whether it is repeated; an enum is the int32 that it is on the wire."""
    repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    return field.number, field.TYPE_INT32 if field.type == field.TYPE_ENUM else field.type, repeated


def differences(ours: Any, theirs: Any) -> list[str]:
    """The fields of ours, nested messages included, that the other message does not have, or not so."""
    if ours.name != theirs.name:
        return [f"{ours.full_name} is {theirs.full_name}"]
    found = []
    for field in ours.fields:
        other = theirs.fields_by_name.get(field.name)
        if other is None or shape(field) != shape(other):
            found.append(field.full_name)
        elif field.message_type:
            found += differences(field.message_type, other.message_type)
    return found


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_has_the_number_and_type_that_tf_serving_publishes(name: str) -> None:
    assert differences(MESSAGES[name], published(name)) == []


def test_the_modules_are_generated_from_the_proto_file() -> None:
    text = (Path(protos.__file__).parent / "tf_serving.proto").read_text()
    written = re.findall(r"(\w+) = (\d+);", text)
    nested = [each for message in MESSAGES.values() for each in message.nested_types if not each.has_options]
    built = [(each.name, str(each.number)) for message in (*MESSAGES.values(), *nested) for each in message.fields]
    assert sorted(written) == sorted(built)


def test_requests_and_answers_are_read_on_the_other_side() -> None:
    from tensorflow_serving.apis import predict_pb2

    rows = np.array([[1.5, 2.5]], np.float32)
    ours = tf_serving_pb2.PredictRequest()
    ours.model_spec.name, ours.model_spec.version.value, ours.model_spec.signature_name = "m", 7, "s"
    tensors.to_proto(rows, ours.inputs["predictors"])
    theirs = predict_pb2.PredictRequest.FromString(ours.SerializeToString())
    assert (theirs.model_spec.name, theirs.model_spec.version.value, theirs.model_spec.signature_name) == ("m", 7, "s")
    assert tf.load().make_ndarray(theirs.inputs["predictors"]).tolist() == rows.tolist()

    answer = predict_pb2.PredictResponse()
    values = {"f": np.ones(2), "i": np.arange(3), "s": np.array([b"x"], object), "b": np.array([True])}
    for name, array in values.items():
        tensors.to_proto(array, answer.outputs[name])
    read = tf_serving_pb2.PredictResponse.FromString(answer.SerializeToString()).outputs
    assert {name: tensors.from_proto(each).tolist() for name, each in read.items()} == {
        name: array.tolist() for name, array in values.items()
    }
