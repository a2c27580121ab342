"""A SavedModel with TF Serving's conventions: named inputs and outputs, warm-up, a word about itself."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import files, tf
from tapeline.errors import refuse

Array = np.ndarray[Any, Any]
ABOUT = Path("assets.extra") / "tapeline.json"
WARM_UP = Path("assets.extra") / "tf_serving_warmup_requests"
SIGNATURE = "serving_default"


def write(model: Callable[[Any], dict[str, Any]], about: Mapping[str, Any], sample: Array, folder: Path) -> None:
    """Export a model under the signature `predictors` float32 [None, n] to its outputs.

    Args:
        model: a tf.Module called with a tensor.
        about: what `assets.extra/tapeline.json` tells; `model_version` and `name` are needed here.
        sample: float32 [rows, n], the warm-up request.
        folder: to be made.

    Raises:
        Refused: it cannot be written, for want of space or permission.
    """
    tensorflow = tf.load()
    module = tensorflow.Module()
    module.model = model

    def serve(predictors: Any) -> dict[str, Any]:
        version = tensorflow.repeat(tensorflow.constant(about["model_version"]), tensorflow.shape(predictors)[0])
        return {**model(predictors), "model_version": version}

    spec = tensorflow.TensorSpec([None, sample.shape[1]], tensorflow.float32, name="predictors")
    module.serve = tensorflow.function(serve, input_signature=[spec])
    try:
        tensorflow.saved_model.save(module, str(folder), signatures={SIGNATURE: module.serve})
    except tensorflow.errors.OpError as error:
        what = error.message.splitlines()[0]
        raise refuse(
            folder.parent, f"TensorFlow cannot write there ({what})", "free some space or mend access"
        ) from None
    files.write_json(folder / ABOUT, about)
    files.write_bytes(folder / WARM_UP, _warm_up(str(about["name"]), sample))


def _warm_up(name: str, sample: Array) -> bytes:
    """One PredictionLog in a TFRecord."""
    from tensorboard.summary.writer.record_writer import RecordWriter
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = SIGNATURE
    request.inputs["predictors"].CopyFrom(tf.load().make_tensor_proto(sample))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    records = io.BytesIO()
    RecordWriter(records).write(log.SerializeToString())
    return records.getvalue()


def about(folder: Path) -> dict[str, Any]:
    """What a servable tells of itself; no TensorFlow is needed."""
    told: dict[str, Any] = files.read_json(folder / ABOUT)
    return told


def load(folder: Path) -> Callable[[Array], dict[str, Array]]:
    """The servable from disk, as a function of float32 [rows, n].

    Raises:
        Refused: it is damaged.
    """
    tensorflow = tf.load()
    try:
        loaded = tensorflow.saved_model.load(str(folder))
        signature = loaded.signatures[SIGNATURE]
    except (OSError, KeyError, ValueError, tensorflow.errors.OpError) as error:
        what = str(error).splitlines()[0]
        raise refuse(folder, f"is not a servable that can be loaded ({what})", "export it again") from None

    def predict(features: Array) -> dict[str, Array]:
        outputs = signature(predictors=tensorflow.constant(features, tensorflow.float32))
        return {name: output.numpy() for name, output in outputs.items()}

    predict.loaded = loaded  # type: ignore[attr-defined]  # the signature alone does not keep its variables alive
    return predict


def verify(folder: Path) -> None:
    """Load a servable and send it a row.

    Raises:
        Refused: it does not load, or answers with what is no number.
    """
    told = about(folder)
    answer = load(folder)(np.zeros((2, len(told["features"])), np.float32))
    if answer["model_version"].tolist() != [told["model_version"].encode()] * 2:
        raise refuse(folder, "does not answer with its own model_version", "export it again")
    for name, values in answer.items():
        if name != "model_version" and not np.isfinite(values).all():
            raise refuse(folder, f"answers with a {name} that is no number", "export it again")
