"""Certificates of the servers."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tapeline.errors import refuse


@dataclass(frozen=True)
class Certificate:
    """What a server encrypts with."""

    chain: bytes
    """Certificates as PEM, the server's own one first."""
    key: bytes
    rest: ssl.SSLContext | None = None
    """The same for REST; None: REST is not encrypted, as in TF Serving."""
    clients: bytes | None = None
    """Authorities as PEM, of which clients of gRPC need a certificate; None: they need none."""

    def credentials(self) -> Any:
        """The same for gRPC."""
        import grpc

        pairs = [(self.key, self.chain)]
        return grpc.ssl_server_credentials(pairs, self.clients, require_client_auth=self.clients is not None)


def read(certificate: str, key: str | None) -> Certificate:
    """The certificate and the key in two PEM files, or in one.

    Raises:
        Refused: a file cannot be read, or the key is not that of the certificate.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    named = f"tls={certificate}" + (f" key={key}" if key else "")
    fix = "give a certificate and its key without a password, as in tls=cert.pem key=key.pem"
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
        return Certificate(Path(certificate).read_bytes(), Path(key or certificate).read_bytes(), context)
    except ssl.SSLError as error:
        reason = str(error.reason or error).replace("_", " ").lower()
        raise refuse(named, f"is not a certificate with its key ({reason})", fix) from None
    except (OSError, ValueError) as error:
        raise refuse(named, f"cannot be read ({error})", fix) from None


def of_tf_serving(file: str) -> Certificate | None:
    """The certificate in an ssl_config_file of TF Serving; None where none is named.

    Raises:
        Refused: the file cannot be read, or is not an SSLConfig in protobuf's text format.
    """
    from google.protobuf import text_format

    if not file:
        return None
    try:
        given = text_format.Parse(Path(file).read_text(encoding="utf-8"), _config()())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        fix = 'write server_key: "..." and server_cert: "...", each with the content of a PEM file'
        raise refuse("--ssl_config_file", f"{file} cannot be read ({error})", fix) from None
    clients = given.custom_ca.encode() if given.client_verify else None
    return Certificate(given.server_cert.encode(), given.server_key.encode(), clients=clients)


@cache
def _config() -> Any:
    """The message SSLConfig of TF Serving's config/ssl_config.proto, which tensorflow-serving-api does not have."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="tapeline/ssl_config.proto", package="tapeline", syntax="proto3")
    message: Any = file.message_type.add(name="SSLConfig")
    kinds = {"server_key": 9, "server_cert": 9, "custom_ca": 9, "client_verify": 8}  # 9: string, 8: bool
    for number, (name, kind) in enumerate(kinds.items(), 1):
        message.field.add(name=name, number=number, type=kind, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tapeline.SSLConfig"))
