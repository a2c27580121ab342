"""TLS of both APIs: who is accepted, and what is said of the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tapeline.cli.main import main
from tapeline.errors import Refused
from tapeline.serving import client
from tapeline.serving.client import Endpoint
from tapeline.serving.servers import server, tensorflow_model_server, tls
from tapeline.serving.servers.manager import Manager
from tapeline.serving.servers.server import ListenAddress, Server, follow_store
from tests.serving import certificates
from tests.serving.certificates import Files
from tests.serving.servables import pin, until, write


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificates.made(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    write(folder / "m" / "1", "aaaaaaaaaaaa")
    pin(folder, m=1)
    return folder


def started(store: Path, certificate: tls.Certificate | None) -> Iterator[Server]:
    listen = ListenAddress("127.0.0.1", 0, 0, tls=certificate)
    running = Server(listen, Manager(1), follow_store(str(store)), 0.05)
    try:
        until(lambda: bool(running.manager.live("m")))
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def encrypted(store: Path, files: Files) -> Iterator[Server]:
    yield from started(store, tls.read(files.certificate, files.key))


@pytest.fixture(scope="module")
def plain(store: Path) -> Iterator[Server]:
    yield from started(store, None)


def at(running: Server, api: str, authority: str | None) -> Endpoint:
    port = {"rest": running.rest_port, "grpc": running.grpc_port}[api]
    assert port
    return client.endpoint(f"127.0.0.1:{port}", {}, "m", api, authority)


ROWS = {"predictors": np.array([[1, 2, 3], [-1, -2, -3]], np.float32)}
APIS = pytest.mark.parametrize("api", ["rest", "grpc"])


@APIS
def test_a_client_with_the_authority_gets_an_answer(encrypted: Server, files: Files, api: str) -> None:
    assert client.predict(at(encrypted, api, files.authority), ROWS).outputs["prediction"] == [1, 0]


@APIS
def test_a_client_that_does_not_encrypt_is_told_so(encrypted: Server, api: str) -> None:
    with pytest.raises(Refused, match=r"tls=ca\.pem"):
        client.predict(at(encrypted, api, None), ROWS)


@APIS
def test_a_server_that_does_not_encrypt_is_refused(plain: Server, files: Files, api: str) -> None:
    with pytest.raises(Refused, match="does not speak TLS"):
        client.predict(at(plain, api, files.authority), ROWS)


@APIS
def test_another_authority_is_not_accepted(encrypted: Server, api: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="the certificate of the server is not accepted"):
        client.predict(at(encrypted, api, certificates.made(tmp_path).authority), ROWS)


@APIS
def test_a_host_that_the_certificate_does_not_name_is_not_accepted(store: Path, api: str, tmp_path: Path) -> None:
    other = certificates.made(tmp_path, ["models.example"])
    for running in started(store, tls.read(other.certificate, other.key)):
        with pytest.raises(Refused, match="the certificate of the server is not accepted"):
            client.predict(at(running, api, other.authority), ROWS)


def test_files_that_are_no_certificates_are_refused(files: Files, tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("hello")
    for path in (tmp_path / "none.pem", tmp_path / "text.pem"):
        with pytest.raises(Refused, match="tls="):
            client.endpoint("localhost", {"rest": 1}, "m", "rest", str(path))
        with pytest.raises(Refused, match="tls="):
            tls.read(str(path), files.key)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(Refused, match="is not a certificate with its key"):
        tls.read(files.certificate, certificates.made(other).key)


def test_certificate_and_key_may_be_one_file(files: Files, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(Path(files.key).read_text() + Path(files.certificate).read_text())
    assert tls.read(str(both), None).rest is not None


def test_serve_refuses_what_cannot_be_encrypted(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (
            [f"tls={files.certificate}", f"key={files.key}", "serving.engine=tfserving"],
            "TF Serving cannot encrypt REST",
        ),
        ([f"key={files.key}"], "is not read without tls"),
    ):
        assert main(["serve", *words]) == 2
        assert said in capsys.readouterr().err


def test_tf_servings_ssl_config_encrypts_grpc_only(store: Path, files: Files) -> None:
    certificate = tls.of_tf_serving(files.config)
    assert certificate is not None
    assert (certificate.rest, certificate.clients) == (None, None)
    for running in started(store, certificate):
        assert client.predict(at(running, "grpc", files.authority), ROWS).outputs["prediction"] == [1, 0]
        assert client.predict(at(running, "rest", None), ROWS).outputs["prediction"] == [1, 0]


def test_clients_without_a_certificate_are_refused_where_the_config_says_so(
    store: Path, files: Files, tmp_path: Path
) -> None:
    import json

    config = tmp_path / "ssl.config"
    authority = Path(files.authority).read_text()
    config.write_text(Path(files.config).read_text() + f"custom_ca: {json.dumps(authority)}\nclient_verify: true\n")
    for running in started(store, tls.of_tf_serving(str(config))):
        with pytest.raises(Refused):
            client.predict(at(running, "grpc", files.authority), ROWS)


def test_an_ssl_config_that_is_none_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "ssl.config"
    config.write_text("server_kye: 'x'")
    with pytest.raises(Refused, match="--ssl_config_file"):
        tls.of_tf_serving(str(config))
    assert tls.of_tf_serving(tensorflow_model_server.parse(["--model_base_path=/x"]).ssl_config_file) is None


def test_tf_servings_server_listens_when_its_models_are_loaded(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live: list[list[int]] = []

    class Recorded(Exception):
        pass

    def construct(listen: ListenAddress, manager: Manager, *rest: object) -> None:
        live.append(manager.live("m"))
        raise Recorded

    monkeypatch.setattr(server, "Server", construct)
    listen = ListenAddress("127.0.0.1", 0, None)
    for loaded in (True, False):
        with pytest.raises(Recorded):
            server.serve(listen, follow_store(str(store)), seconds=1, threads=1, loaded=loaded)
    assert live == [[1], []]
