"""One version of a model in memory: a SavedModel in a TensorFlow session, as in TF Serving."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tapeline import tensorflow as tf
from tapeline.serving import tensors
from tapeline.serving.saved_model import METADATA, WARM_UP
from tapeline.serving.servers.request_error import RequestError
from tapeline.serving.signatures import DEFAULT

Array = np.ndarray[Any, Any]
T = TypeVar("T")
ROWS = 4096
"""Rows of a large request that TensorFlow gets at once, which bounds the memory of what it computes between."""
MAX_WARM_UP_RECORDS = 1000
"""TF Serving's limit."""
CODES = {3: "INVALID_ARGUMENT", 8: "RESOURCE_EXHAUSTED", 9: "FAILED_PRECONDITION", 12: "UNIMPLEMENTED"}
"""gRPC status code by TensorFlow's error code; every other error is INTERNAL."""


@dataclass(frozen=True)
class SignatureInput:
    """An input of a signature."""

    dtype: int
    """TensorFlow's DataType."""
    shape: tuple[int, ...] | None
    """-1 for a dimension of any size; None: any shape."""


@dataclass(frozen=True)
class Signature:
    """A SignatureDef as plain Python values, since reading protobuf messages in every request is slow."""

    name: str
    definition: Any
    """The SignatureDef message."""
    inputs: Mapping[str, SignatureInput]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """Where a version that is loaded came from, for another process that loads it, too."""

    name: str
    number: int
    folder: Path
    threads: int
    load: int
    """Counts loads: a folder that is replaced and loaded again is another source."""


def find(live: Mapping[str, Mapping[int, T]], name: str, number: int | None) -> T:
    """A version of a model among the live ones; None: the latest.

    Raises:
        RequestError: it is not live.
    """
    numbers = live.get(name, {})
    found = numbers.get(max(numbers) if number is None and numbers else number or 0)
    if found is None:
        servable = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        raise RequestError("NOT_FOUND", f"Servable not found for request: {servable}")
    return found


_loads = itertools.count()


@dataclass
class LoadedModel:
    """A version of a model that is loaded."""

    name: str
    number: int
    """The version number."""
    session: Any
    signatures: Mapping[str, Signature]
    source: Source | None = None
    by_rows: bool = False
    """Each row's outputs depend on this row alone, as in tapeline's own servables."""
    callables: dict[tuple[str, tuple[str, ...]], Any] = field(default_factory=dict)
    """The session's callables, by signature and outputs."""
    requests_in_flight: int = 0
    unloading: bool = False
    """To be closed when no request is in flight."""

    @cached_property
    def dtypes(self) -> dict[str, dict[str, int]]:
        """TensorFlow's DataType of each input, by signature."""
        return {
            name: {key: each.dtype for key, each in signature.inputs.items()}
            for name, signature in self.signatures.items()
        }

    def signature(self, name: str) -> Signature:
        """The signature with this name; "" is the default signature."""
        found = self.signatures.get(name or DEFAULT)
        if found is None:
            raise RequestError("FAILED_PRECONDITION", f'Serving signature key "{name or DEFAULT}" not found.')
        return found

    def predict(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str] = ()) -> dict[str, Array]:
        """Run a signature.

        Args:
            signature: its name; "" for the default signature.
            inputs: arrays by the names of the signature's inputs.
            outputs: the outputs to return; empty: all.

        Raises:
            RequestError: the inputs or outputs do not match the signature, or TensorFlow refuses the values.
        """
        found = self.signature(signature)
        names = _output_filter(found, outputs) if outputs else found.outputs
        _check_inputs(found, inputs)
        run = self.callables.get((found.name, names)) or self._make_callable(found, names)
        try:
            parts = [run(*(each[name] for name in found.inputs)) for each in self._parts(inputs)]
        except tf.load().errors.OpError as error:
            code = CODES.get(error.error_code, "INTERNAL")
            raise RequestError(code, error.message.splitlines()[0]) from None
        results = parts[0] if len(parts) == 1 else [np.concatenate(each) for each in zip(*parts, strict=True)]
        return dict(zip(names, map(np.asarray, results), strict=True))

    def _parts(self, inputs: Mapping[str, Array]) -> list[Mapping[str, Array]]:
        """The inputs in parts of ROWS."""
        rows = {len(each) if each.ndim else 0 for each in inputs.values()}
        if not self.by_rows or len(rows) != 1 or max(rows) <= ROWS:
            return [inputs]
        starts = range(0, max(rows), ROWS)
        return [{name: each[start : start + ROWS] for name, each in inputs.items()} for start in starts]

    def _make_callable(self, signature: Signature, outputs: tuple[str, ...]) -> Any:
        from tensorflow.core.protobuf import config_pb2

        definition = signature.definition
        options = config_pb2.CallableOptions()
        options.feed.extend(definition.inputs[each].name for each in signature.inputs)
        options.fetch.extend(definition.outputs[each].name for each in outputs)
        # Keras uses this private method: 12 us a call; the public make_callable takes 110 us, nearly all in Python
        made = self.session._make_callable_from_options(options)
        self.callables[signature.name, outputs] = made
        return made

    def close(self) -> None:
        """Free the memory; the model cannot be used afterwards."""
        self.callables.clear()
        self.session.close()


def _output_filter(signature: Signature, names: Sequence[str]) -> tuple[str, ...]:
    for each in names:
        if each not in signature.outputs:
            known = ",".join(signature.outputs)
            raise RequestError(
                "INVALID_ARGUMENT",
                f"output tensor alias not found in signature: {each} Outputs expected to be in the set {{{known}}}.",
            )
    if len(set(names)) < len(names):
        raise RequestError("INVALID_ARGUMENT", f"duplicate output tensor alias: {', '.join(names)}")
    return tuple(names)


def _check_inputs(signature: Signature, inputs: Mapping[str, Array]) -> None:
    """Raise RequestError where names, types or shapes do not match; the message about names is TF Serving's."""
    if inputs.keys() != signature.inputs.keys():
        sent, known = set(inputs), set(signature.inputs)
        lists = [",".join(sorted(each)) for each in (sent, known, sent - known, known - sent)]
        raise RequestError(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(sent)}!={len(known)} len({{{lists[0]}}}) != "
            f"len({{{lists[1]}}}). Sent extra: {{{lists[2]}}}. Missing but required: {{{lists[3]}}}.",
        )
    for each, array in inputs.items():
        expected = signature.inputs[each]
        dtype, _, type_name = tensors.TYPES[expected.dtype]
        if array.dtype != dtype:
            problem = f"input {each} has type {array.dtype}; the signature {signature.name} expects {type_name}"
            raise RequestError("INVALID_ARGUMENT", problem)
        if expected.shape is not None and not _matches(array.shape, expected.shape):
            shapes = [",".join(map(str, shape)) for shape in (array.shape, expected.shape)]
            problem = f"input {each} has shape [{shapes[0]}]; the signature {signature.name} expects [{shapes[1]}]"
            raise RequestError("INVALID_ARGUMENT", problem)


def _matches(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(b in (-1, a) for a, b in zip(shape, expected, strict=True))


def _signature(name: str, definition: Any) -> Signature:
    inputs = {}
    for key in sorted(definition.inputs):
        info = definition.inputs[key]
        shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
        inputs[key] = SignatureInput(info.dtype, shape)
    return Signature(name, definition, inputs, tuple(sorted(definition.outputs)))


def load(name: str, number: int, folder: Path, threads: int) -> LoadedModel:
    """Load a version of a model and run its warm-up requests.

    Raises:
        ValueError: it cannot be loaded, or a warm-up request fails; the message is one sentence.
    """
    tensorflow = tf.load(threads)
    tensorflow.get_logger().setLevel("ERROR")
    v1 = tensorflow.compat.v1
    # -1: operations run in the thread of the request, which is the fastest for small graphs
    options = v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=-1)
    graph = tensorflow.Graph()
    session = v1.Session(graph=graph, config=options)
    try:
        with tf.quiet():
            with graph.as_default():
                meta = v1.saved_model.loader.load(session, ["serve"], str(folder))
            signatures = {key: _signature(key, definition) for key, definition in meta.signature_def.items()}
            source, by_rows = Source(name, number, folder, threads, next(_loads)), (folder / METADATA).is_file()
            loaded = LoadedModel(name, number, session, signatures, source, by_rows)
            _warm_up(loaded, folder / WARM_UP)
    except RequestError as error:
        session.close()
        raise ValueError(f"its warm-up fails ({error.message})") from None
    except Exception as error:  # a damaged protobuf, graph or checkpoint raises many types of exception
        session.close()
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"it cannot be loaded ({reason[:300]})") from None
    return loaded


def _warm_up(loaded: LoadedModel, path: Path) -> None:
    """Run the recorded requests: the first request of each signature is slow."""
    if not path.is_file():
        return
    from tensorflow_serving.apis import prediction_log_pb2

    records = tf.load().data.TFRecordDataset(str(path)).take(MAX_WARM_UP_RECORDS).as_numpy_iterator()
    for record in records:
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.HasField("predict_log"):
            request = log.predict_log.request
            inputs = {key: tensors.from_proto(proto) for key, proto in request.inputs.items()}
            loaded.predict(request.model_spec.signature_name, inputs, list(request.output_filter))
