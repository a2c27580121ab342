"""One version of a model in memory: a SavedModel in a session, as TF Serving runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import tensorflow as tf
from tapeline.serving import tensors
from tapeline.serving.saved_model import SIGNATURE, WARM_UP

Array = np.ndarray[Any, Any]
MOST_WARM_UPS = 1000
"""TF Serving's limit."""
CODES = {3: "INVALID_ARGUMENT", 8: "RESOURCE_EXHAUSTED", 9: "FAILED_PRECONDITION", 12: "UNIMPLEMENTED"}
"""Names of TensorFlow's error codes; the others are not the client's affair."""


class Failure(Exception):
    """A request that cannot be answered; `code` is gRPC's name for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Input:
    """An input of a signature."""

    dtype: int
    """TensorFlow's DataType."""
    shape: tuple[int, ...] | None
    """-1 where any size will do; None: any shape."""


@dataclass(frozen=True)
class Signature:
    """A SignatureDef, in plain values, since protobufs are slow to look into at every request."""

    name: str
    definition: Any
    """The SignatureDef."""
    inputs: Mapping[str, Input]
    outputs: tuple[str, ...]


@dataclass
class Loaded:
    """A version that answers."""

    name: str
    number: int
    session: Any
    signatures: Mapping[str, Signature]
    calls: dict[tuple[str, tuple[str, ...]], Any] = field(default_factory=dict)
    """Prepared calls of the session by signature and outputs."""
    users: int = 0
    """Requests in flight."""
    retired: bool = False

    def signature(self, name: str) -> Signature:
        """A signature by its name; "" is the default one."""
        found = self.signatures.get(name or SIGNATURE)
        if found is None:
            raise Failure("FAILED_PRECONDITION", f'Serving signature key "{name or SIGNATURE}" not found.')
        return found

    def predict(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str] = ()) -> dict[str, Array]:
        """Run a signature.

        Args:
            signature: its name, or "" for the default.
            inputs: arrays by the signature's names.
            outputs: those wanted; all where none is named.

        Raises:
            Failure: inputs or outputs are not the signature's, or TensorFlow refuses them.
        """
        known = self.signature(signature)
        wanted = _outputs(known, outputs) if outputs else known.outputs
        _check(known, inputs)
        call = self.calls.get((known.name, wanted)) or self._prepare(known, wanted)
        try:
            results = call(*(inputs[each] for each in known.inputs))
        except tf.load().errors.OpError as error:
            code = CODES.get(error.error_code, "INTERNAL")
            raise Failure(code, error.message.splitlines()[0]) from None
        return dict(zip(wanted, map(np.asarray, results), strict=True))

    def _prepare(self, signature: Signature, wanted: tuple[str, ...]) -> Any:
        from tensorflow.core.protobuf import config_pb2

        definition = signature.definition
        options = config_pb2.CallableOptions()
        options.feed.extend(definition.inputs[each].name for each in signature.inputs)
        options.fetch.extend(definition.outputs[each].name for each in wanted)
        # what Keras uses: 12 us a call, where the public make_callable takes 110 us, nearly all of them Python
        call = self.session._make_callable_from_options(options)
        self.calls[signature.name, wanted] = call
        return call

    def close(self) -> None:
        """Free its memory; it answers no more."""
        self.calls.clear()
        self.session.close()


def _outputs(signature: Signature, wanted: Sequence[str]) -> tuple[str, ...]:
    for each in wanted:
        if each not in signature.outputs:
            known = ",".join(signature.outputs)
            raise Failure(
                "INVALID_ARGUMENT",
                f"output tensor alias not found in signature: {each} Outputs expected to be in the set {{{known}}}.",
            )
    if len(set(wanted)) < len(wanted):
        raise Failure("INVALID_ARGUMENT", f"duplicate output tensor alias: {', '.join(wanted)}")
    return tuple(wanted)


def _check(signature: Signature, inputs: Mapping[str, Array]) -> None:
    """Refuse inputs that are not the signature's, in names (TF Serving's words), types and shapes."""
    if inputs.keys() != signature.inputs.keys():
        sent, known = set(inputs), set(signature.inputs)
        lists = [",".join(sorted(each)) for each in (sent, known, sent - known, known - sent)]
        raise Failure(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(sent)}!={len(known)} len({{{lists[0]}}}) != "
            f"len({{{lists[1]}}}). Sent extra: {{{lists[2]}}}. Missing but required: {{{lists[3]}}}.",
        )
    for each, array in inputs.items():
        wanted = signature.inputs[each]
        kind, _, word = tensors.TYPES[wanted.dtype]
        if array.dtype != kind:
            problem = f"input {each} is of type {array.dtype}; the signature {signature.name} wants {word}"
            raise Failure("INVALID_ARGUMENT", problem)
        if wanted.shape is not None and not _fits(array.shape, wanted.shape):
            shapes = [",".join(map(str, shape)) for shape in (array.shape, wanted.shape)]
            problem = f"input {each} has shape [{shapes[0]}]; the signature {signature.name} wants [{shapes[1]}]"
            raise Failure("INVALID_ARGUMENT", problem)


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(b in (-1, a) for a, b in zip(shape, wanted, strict=True))


def _signature(name: str, definition: Any) -> Signature:
    inputs = {}
    for key in sorted(definition.inputs):
        info = definition.inputs[key]
        shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
        inputs[key] = Input(info.dtype, shape)
    return Signature(name, definition, inputs, tuple(sorted(definition.outputs)))


def load(name: str, number: int, folder: Path, threads: int) -> Loaded:
    """Load a version and send it its warm-up requests.

    Raises:
        ValueError: it cannot be loaded, or does not answer its own warm-up; one sentence.
    """
    tensorflow = tf.load(threads)
    tensorflow.get_logger().setLevel("ERROR")
    v1 = tensorflow.compat.v1
    # -1: small graphs run fastest in the thread that asks
    options = v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=-1)
    graph = tensorflow.Graph()
    session = v1.Session(graph=graph, config=options)
    try:
        with graph.as_default():
            meta = v1.saved_model.loader.load(session, ["serve"], str(folder))
        signatures = {key: _signature(key, definition) for key, definition in meta.signature_def.items()}
        loaded = Loaded(name, number, session, signatures)
        _warm_up(loaded, folder / WARM_UP)
    except Failure as error:
        session.close()
        raise ValueError(f"its warm-up fails ({error.message})") from None
    except Exception as error:  # a damaged protobuf, graph or checkpoint raises any of a dozen kinds
        session.close()
        what = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"it cannot be loaded ({what[:300]})") from None
    return loaded


def _warm_up(loaded: Loaded, path: Path) -> None:
    """Run recorded requests, so that the first real one is not the slow one."""
    if not path.is_file():
        return
    from tensorflow_serving.apis import prediction_log_pb2

    records = tf.load().data.TFRecordDataset(str(path)).take(MOST_WARM_UPS).as_numpy_iterator()
    for record in records:
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.HasField("predict_log"):
            request = log.predict_log.request
            inputs = {key: tensors.from_proto(proto) for key, proto in request.inputs.items()}
            loaded.predict(request.model_spec.signature_name, inputs, list(request.output_filter))
