"""A SavedModel with TF Serving's conventions: named inputs and outputs, warm-up, a word about itself.

    serving_default     predictors float32 [None, n] to the outputs
    <input's name>      the same from what its dataset takes instead, as `closes` of indices

A row of the second kind whose features cannot be told has no answer: its outputs are NaN, and -1 where
they are whole numbers. TF Serving itself refuses no values.
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
from tapeline.tables.spec import Input

Array = np.ndarray[Any, Any]
ABOUT = Path("assets.extra") / "tapeline.json"
WARM_UP = Path("assets.extra") / "tf_serving_warmup_requests"
SIGNATURE = "serving_default"
SERVERS = (2, 20)
"""TensorFlow of the servers: SavedModels load in the version that wrote them and in later ones."""


def write(
    model: Callable[[Any], dict[str, Any]],
    about: Mapping[str, Any],
    sample: Array,
    folder: Path,
    inputs: Sequence[Input] = (),
) -> None:
    """Export a model under the signature `predictors` float32 [None, n] to its outputs, and one for each input.

    Args:
        model: a tf.Module called with a tensor.
        about: what `assets.extra/tapeline.json` tells; `model_version` and `name` are needed here.
        sample: float32 [rows, n], the warm-up request.
        folder: to be made.
        inputs: further signatures.

    Raises:
        Refused: it cannot be written, for want of space or permission.
    """
    tensorflow = tf.load()
    module = tensorflow.Module()
    module.model = model

    def signature(name: str, shape: Sequence[int], dtype: Any, answer: Callable[[Any], dict[str, Any]]) -> Any:
        def serve(values: Any) -> dict[str, Any]:
            version = tensorflow.repeat(tensorflow.constant(about["model_version"]), tensorflow.shape(values)[0])
            return {**answer(values), "model_version": version}

        spec = tensorflow.TensorSpec([None, *shape], dtype, name=name)
        return tensorflow.function(serve, input_signature=[spec])

    signatures = {SIGNATURE: signature("predictors", sample.shape[1:], tensorflow.float32, model)}
    for each in inputs:
        signatures[each.name] = signature(each.name, each.shape, each.dtype, _answers(model, each))
    try:
        tensorflow.saved_model.save(module, str(folder), signatures=signatures)
    except tensorflow.errors.OpError as error:
        what = error.message.splitlines()[0]
        raise refuse(
            folder.parent, f"TensorFlow cannot write there ({what})", "free some space or mend access"
        ) from None
    told = {each.name: {"input": each.name, "shape": each.shape, "dtype": each.dtype, **each.about} for each in inputs}
    files.write_json(folder / ABOUT, {**about, "signatures": told})
    requests = {SIGNATURE: ("predictors", sample)}
    requests |= {each.name: (each.name, np.ones((len(sample), *each.shape), each.dtype)) for each in inputs}
    files.write_bytes(folder / WARM_UP, _warm_up(str(about["name"]), requests))


def _answers(model: Callable[[Any], dict[str, Any]], given: Input) -> Callable[[Any], dict[str, Any]]:
    """The model behind an input; NaN or -1 in rows without features, which trees would answer all the same."""
    tensorflow = tf.load()

    def answer(values: Any) -> dict[str, Any]:
        features = given.features(values)
        known = tensorflow.reduce_all(tensorflow.math.is_finite(features), axis=1)
        answers = {}
        for name, output in model(features).items():
            rows = tensorflow.reshape(known, [-1] + [1] * (len(output.shape) - 1))
            nothing = tensorflow.constant(np.nan if output.dtype.is_floating else -1, output.dtype)
            answers[name] = tensorflow.where(rows, output, nothing)
        return answers

    return answer


def _warm_up(name: str, requests: Mapping[str, tuple[str, Array]]) -> bytes:
    """A PredictionLog for each signature, with its input's name and values, in a TFRecord."""
    from tensorboard.summary.writer.record_writer import RecordWriter
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    records = io.BytesIO()
    writer = RecordWriter(records)
    for signature, (key, values) in requests.items():
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        request.inputs[key].CopyFrom(tf.load().make_tensor_proto(values))
        log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
        writer.write(log.SerializeToString())
    return records.getvalue()


def about(folder: Path) -> dict[str, Any]:
    """What a servable tells of itself; no TensorFlow is needed."""
    told: dict[str, Any] = files.read_json(folder / ABOUT)
    return told


def load(folder: Path, signature: str = SIGNATURE) -> Callable[[Array], dict[str, Array]]:
    """The servable from disk, as a function of what the signature takes: float32 [rows, n] by default.

    Raises:
        Refused: it is damaged, or has no such signature.
    """
    return _load(folder, (signature,))[0]


def _load(folder: Path, signatures: Sequence[str]) -> list[Callable[[Array], dict[str, Array]]]:
    tensorflow = tf.load()
    try:
        loaded = tensorflow.saved_model.load(str(folder))
        functions = [loaded.signatures[signature] for signature in signatures]
    except (OSError, KeyError, ValueError, tensorflow.errors.OpError) as error:
        what = str(error).splitlines()[0]
        raise refuse(folder, f"is not a servable that can be loaded ({what})", "export it again") from None

    def caller(function: Any) -> Callable[[Array], dict[str, Array]]:
        ((name, spec),) = function.structured_input_signature[1].items()

        def predict(values: Array) -> dict[str, Array]:
            outputs = function(**{name: tensorflow.constant(values, spec.dtype)})
            return {name: output.numpy() for name, output in outputs.items()}

        predict.loaded = loaded  # type: ignore[attr-defined]  # a signature does not keep its variables alive
        return predict

    return [caller(function) for function in functions]


def verify(folder: Path) -> None:
    """Load a servable and send two rows to each of its signatures.

    Raises:
        Refused: it does not load here or on the servers, or answers with what is no number.
    """
    told = about(folder)
    wrote = told.get("tensorflow", "0.0")
    if release(wrote) > SERVERS:
        servers = ".".join(map(str, SERVERS))
        raise refuse(folder, f"was written by TensorFlow {wrote}, later than the servers' {servers}", "export it there")
    requests = {SIGNATURE: np.zeros((2, len(told["features"])), np.float32)}
    for name, each in told.get("signatures", {}).items():
        requests[name] = np.ones((2, *each["shape"]), each["dtype"])
    for function, (signature, values) in zip(_load(folder, list(requests)), requests.items(), strict=True):
        _check_answer(folder, signature, function(values), told["model_version"])


def _check_answer(folder: Path, signature: str, answer: Mapping[str, Array], version: str) -> None:
    if answer["model_version"].tolist() != [version.encode()] * 2:
        raise refuse(folder, f"{signature} does not answer with the servable's own model_version", "export it again")
    for name, values in answer.items():
        if name != "model_version" and not np.isfinite(values).all():
            raise refuse(folder, f"{signature} answers with a {name} that is no number", "export it again")


def release(version: str) -> tuple[int, ...]:
    """A TensorFlow version's first two numbers, which tell what loads what."""
    return tuple(map(int, version.split(".")[:2]))
