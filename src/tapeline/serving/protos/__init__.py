"""The few messages that a gRPC client of TF Serving needs.

tensorflow-serving-api's own modules import TensorFlow, which takes 8 s. So these are built from a
table in a pool of their own; names, numbers and types are those of TF Serving's .proto files, and
a test compares the bytes with what the published modules write.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

PACKAGE = "tapeline.wire"
MESSAGES = {
    "Version": "1 value int64",
    "ModelSpec": "1 name string, 2 version Version, 3 signature_name string",
    "Dim": "1 size int64",
    "Shape": "2 dim Dim*",
    "Tensor": "1 dtype int32, 2 tensor_shape Shape, 4 tensor_content bytes, 5 float_val float*, 6 double_val double*, "
    "7 int_val int32*, 8 string_val bytes*, 10 int64_val int64*, 11 bool_val bool*",
    "NamedTensor": "1 key string, 2 value Tensor",
    "PredictRequest": "1 model_spec ModelSpec, 2 inputs NamedTensor*",
    "PredictResponse": "1 outputs NamedTensor*, 2 model_spec ModelSpec",
    "TensorInfo": "2 dtype int32, 3 tensor_shape Shape",
    "NamedInfo": "1 key string, 2 value TensorInfo",
    "SignatureDef": "1 inputs NamedInfo*",
    "NamedSignature": "1 key string, 2 value SignatureDef",
    "SignatureDefMap": "1 signature_def NamedSignature*",
    "Any": "1 type_url string, 2 value bytes",
    "NamedAny": "1 key string, 2 value Any",
    "MetadataRequest": "1 model_spec ModelSpec, 2 metadata_field string*",
    "MetadataResponse": "1 model_spec ModelSpec, 2 metadata NamedAny*",
}
"""Fields as `number name type`; * is repeated. A map is the repeated pair that it is on the wire."""


@cache
def messages() -> Any:
    """The message classes, as attributes."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="tapeline/wire.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split(", "):
            number, field, kind = text.split()
            repeated, kind = kind.endswith("*"), kind.rstrip("*")
            entry = message.field.add(name=field, number=int(number))
            entry.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in MESSAGES:
                entry.type, entry.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                entry.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES
    }
    return SimpleNamespace(**classes)
