"""An authority, and certificates of it, for servers on this machine and in tests' clusters."""

from __future__ import annotations

import datetime
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Files:
    """PEM files."""

    authority: str
    certificate: str
    key: str
    config: str
    """TF Serving's ssl_config_file."""


def made(folder: Path, names: Sequence[str] = ("localhost", "127.0.0.1")) -> Files:
    """An authority and a certificate for these names, valid for a day."""
    root_key, root = _certificate("tapeline test authority", None, ())
    key, certificate = _certificate(names[0], (root_key, root), names)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    public = certificate.public_bytes(pem).decode()
    content = {
        "ca.pem": root.public_bytes(pem).decode(),
        "tls.crt": public,
        "tls.key": private,
        "ssl.config": f"server_key: {json.dumps(private)}\nserver_cert: {json.dumps(public)}\n",
    }
    for name, text in content.items():
        (folder / name).write_text(text)
    return Files(*(str(folder / name) for name in content))


Signer = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


def _certificate(name: str, signer: Signer | None, names: Sequence[str]) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[1].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((signer[0] if signer else key).public_key()),
            critical=False,
        )
    )
    if names:
        listed: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(each)) if each[0].isdigit() else x509.DNSName(each) for each in names
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    else:
        usage = {name: name in ("key_cert_sign", "crl_sign") for name in (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")}  # fmt: skip
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    return key, builder.sign(signer[0] if signer else key, hashes.SHA256())
