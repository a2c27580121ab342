"""Write, load and verify a servable: a SavedModel with the conventions of TF Serving.

The folder assets.extra holds tapeline.json, the servable's metadata, and tf_serving_warmup_requests, a warm-up
request for each signature. signatures.py builds the signatures.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import files
from tapeline import tensorflow as tf
from tapeline.errors import refuse
from tapeline.serving import signatures, tensors
from tapeline.serving.signatures import DEFAULT, PREDICTORS
from tapeline.tables.spec import SignatureSpec

Array = np.ndarray[Any, Any]
METADATA = Path("assets.extra") / "tapeline.json"
WARM_UP = Path("assets.extra") / "tf_serving_warmup_requests"
Call = Callable[[Array | Mapping[str, Array]], dict[str, Array]]
"""A signature's inputs by name, or the array of its only one, to its outputs by name."""
SERVERS = (2, 20)
"""The TensorFlow release of the servers. A SavedModel loads in the release that wrote it and in later ones."""


def write(
    model: signatures.Function,
    metadata: Mapping[str, Any],
    sample: Array,
    folder: Path,
    others: Sequence[SignatureSpec] = (),
    *,
    missing: bool = False,
) -> None:
    """Export a model as a servable.

    Args:
        model: a tf.Module, called with float32 [rows, features...].
        metadata: written to assets.extra/tapeline.json; `model_version` and `name` are required.
        sample: [rows, features...], the warm-up request.
        folder: the servable, not there yet.
        others: the signatures beside the default one.
        missing: NaN is a missing feature, which the model takes.

    Raises:
        Refused: the folder cannot be written: no space, or no permission.
    """
    tensorflow = tf.load()
    module = tensorflow.Module()
    module.model = model  # a SavedModel keeps only the variables of what the module refers to
    functions = signatures.build(model, metadata["model_version"], sample.shape[1:], others, missing=missing)
    try:
        tensorflow.saved_model.save(module, str(folder), signatures=functions)
    except tensorflow.errors.OpError as error:
        problem = f"TensorFlow cannot write there ({error.message.splitlines()[0]})"
        raise refuse(folder.parent, problem, "free disk space, or change the permissions") from None
    described = {
        each.name: {"inputs": {one.name: {"shape": one.shape, "dtype": one.dtype} for one in each.inputs}, **each.about}
        for each in others
    }
    files.write_json(folder / METADATA, {**metadata, "signatures": described})
    requests = {DEFAULT: {PREDICTORS: sample.reshape(len(sample), -1).astype(np.float32)}}
    for each in others:
        requests[each.name] = {one.name: signatures.example(one, len(sample)) for one in each.inputs}
    files.write_bytes(folder / WARM_UP, _warm_up(str(metadata["name"]), requests))


def _warm_up(name: str, requests: Mapping[str, Mapping[str, Array]]) -> bytes:
    """A TFRecord with a PredictionLog per signature; `requests` has the values of its inputs by name."""
    from tensorboard.summary.writer.record_writer import RecordWriter
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    records = io.BytesIO()
    writer = RecordWriter(records)
    for signature, inputs in requests.items():
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        for key, values in inputs.items():
            request.inputs[key].CopyFrom(tf.load().make_tensor_proto(values))
        log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
        writer.write(log.SerializeToString())
    return records.getvalue()


def read_metadata(folder: Path) -> dict[str, Any]:
    """The servable's metadata; this does not import TensorFlow."""
    metadata: dict[str, Any] = files.read_json(folder / METADATA)
    return metadata


def load(folder: Path, signature: str = DEFAULT) -> Call:
    """Load a servable; returns a function of the signature's inputs by name, or of the array of its only one.

    The default signature takes float32 [rows, numbers]; its array may also have the shape of the features.

    Raises:
        Refused: the servable is damaged, or has no such signature.
    """
    return _load(folder, (signature,))[0]


def _load(folder: Path, names: Sequence[str]) -> list[Call]:
    tensorflow = tf.load()
    try:
        loaded = tensorflow.saved_model.load(str(folder))
        functions = [loaded.signatures[name] for name in names]
    except (OSError, KeyError, ValueError, tensorflow.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise refuse(folder, f"cannot be loaded as a servable ({reason})", "export it again: tapeline run") from None

    def caller(function: Any) -> Call:
        specs = function.structured_input_signature[1]

        def predict(values: Array | Mapping[str, Array]) -> dict[str, Array]:
            inputs = values if isinstance(values, Mapping) else {name: _flat(name, values) for name in specs}
            outputs = function(**{name: tensorflow.constant(inputs[name], specs[name].dtype) for name in specs})
            # the order of a loaded signature's outputs is another one in each process
            return {name: outputs[name].numpy() for name in sorted(outputs)}

        predict.loaded = loaded  # type: ignore[attr-defined]  # a signature does not keep its variables alive
        return predict

    return [caller(function) for function in functions]


def _flat(name: str, values: Array) -> Array:
    return values.reshape(len(values), -1) if name == PREDICTORS else values


def verify(folder: Path) -> None:
    """Load a servable and send its warm-up request to each of its signatures.

    Raises:
        Refused: it does not load here or on the servers, or an output is not finite.
    """
    metadata = read_metadata(folder)
    written_by = metadata.get("tensorflow", "0.0")
    if release(written_by) > SERVERS:
        servers = ".".join(map(str, SERVERS))
        problem = f"was written by TensorFlow {written_by}, which is later than the servers' {servers}"
        raise refuse(folder, problem, f"export it with TensorFlow {servers} or earlier")
    requests = warm_up(folder)
    if missing := [name for name in (DEFAULT, *metadata.get("signatures", {})) if name not in requests]:
        problem = f"has no warm-up request for the signature {', '.join(missing)}"
        raise refuse(folder / WARM_UP, problem, "export it again: tapeline run")
    for function, (signature, inputs) in zip(_load(folder, list(requests)), requests.items(), strict=True):
        _check_outputs(folder, signature, function(inputs), metadata["model_version"])


def warm_up(folder: Path) -> dict[str, dict[str, Array]]:
    """The inputs of each signature's warm-up request, by the names of signature and input.

    Raises:
        Refused: the file is missing or damaged.
    """
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    tensorflow, found = tf.load(), {}
    try:
        for record in tensorflow.data.TFRecordDataset(str(folder / WARM_UP)).as_numpy_iterator():
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            inputs = {key: tensors.from_proto(proto) for key, proto in request.inputs.items()}
            found[request.model_spec.signature_name or DEFAULT] = inputs
    except (ValueError, DecodeError, tensorflow.errors.OpError) as error:
        problem = f"cannot be read ({str(error).splitlines()[0]})"
        raise refuse(folder / WARM_UP, problem, "export it again: tapeline run") from None
    return found


def _check_outputs(folder: Path, signature: str, outputs: Mapping[str, Array], version: str) -> None:
    if set(outputs["model_version"].tolist()) != {version.encode()}:
        problem = f"signature {signature} returns another model_version than that of its metadata"
        raise refuse(folder, problem, "export it again: tapeline run")
    for name, values in outputs.items():
        if name != "model_version" and not np.isfinite(values).all():
            problem = f"signature {signature} returns NaN or infinity in the output {name}"
            raise refuse(folder, problem, "check the data and the model section, and run again: tapeline run")


def release(version: str) -> tuple[int, ...]:
    """The major and minor number of a TensorFlow version; they decide which SavedModels it loads."""
    return tuple(map(int, version.split(".")[:2]))
