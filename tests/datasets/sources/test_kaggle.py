"""The source kaggle against a loopback server that answers as Kaggle's API; the real one was not tried."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tapeline import lookup
from tapeline.datasets import gresearch
from tapeline.datasets.sources import kaggle
from tapeline.errors import Refused
from tests.conftest import Tapeline

TOKEN = "KGAT_planted_0123456789abcdef"
METHOD = "/v1/competitions.CompetitionApiService/DownloadDataFile"
pytest.importorskip("kagglesdk", reason="tapeline[kaggle] is not installed")


@dataclass
class Kaggle:
    """What the server answers, and what it was asked."""

    content: bytes = b""
    status: int = 200
    zipped: bool = True
    cut: int = 0
    """Bytes that are left out at the end."""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    """Path, authorization and body of each request."""


class _Handler(BaseHTTPRequestHandler):
    kaggle: Kaggle

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.kaggle.asked.append((self.path, self.headers.get("Authorization", ""), body))
        if self.kaggle.status != 200:
            return self._error(self.kaggle.status)
        if self.headers.get("Authorization") not in (f"Bearer {TOKEN}", "Basic YW5uYTprZXk="):
            return self._error(401)
        name = "train.csv.zip" if self.kaggle.zipped else "train.csv"
        self.send_response(302)
        self.send_header("Location", f"http://{self.headers['Host']}/storage/{name}?signature=x")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.kaggle.content)))
        self.end_headers()
        self.wfile.write(self.kaggle.content[: len(self.kaggle.content) - self.kaggle.cut])

    def _error(self, status: int) -> None:
        answer = json.dumps({"code": status, "message": f"status {status}"}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def train() -> pl.DataFrame:
    return gresearch.simulate(0, 30_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, train: pl.DataFrame) -> Iterator[Kaggle]:
    """The server, to which the client's address of Kaggle leads."""
    from kagglesdk import kaggle_env

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as inside:
        inside.writestr("train.csv", train.write_csv())
    state = Kaggle(packed.getvalue())
    handler = type("Handler", (_Handler,), {"kaggle": state})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    address = f"http://127.0.0.1:{listening.server_port}"
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, address)
    monkeypatch.setattr(kaggle, "RETRIES", 0)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in kaggle.KEYS:
        monkeypatch.delenv(name, raising=False)
    try:
        yield state
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def read(folder: Path) -> pl.DataFrame:
    dataset = lookup.configure(["dataset=gresearch", "dataset.source=kaggle"]).dataset
    frame, where = lookup.source(dataset).read(dataset, gresearch.simulate, folder)
    assert where == "g-research-crypto-forecasting/train.csv"
    return frame.collect()


@pytest.mark.parametrize(
    ("variables", "authorization"),
    [
        ({"KAGGLE_API_TOKEN": TOKEN}, f"Bearer {TOKEN}"),
        ({"KAGGLE_USERNAME": "anna", "KAGGLE_KEY": "key"}, "Basic YW5uYTprZXk="),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_the_file_is_downloaded(
    server: Kaggle,
    train: pl.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    authorization: str,
    zipped: bool,
) -> None:
    server.zipped = zipped
    server.content = server.content if zipped else train.write_csv().encode()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    found = read(tmp_path)
    assert len(found) == len(train)
    assert found["timestamp"].cast(pl.Int64).equals(train["timestamp"])
    assert dict(os.environ) == before
    ((path, held, body),) = server.asked
    assert (path, held) == (METHOD, authorization)
    assert body == {"competitionName": "g-research-crypto-forecasting", "fileName": "train.csv"}


@pytest.mark.parametrize(
    ("status", "wanted"),
    [(401, "refuses the credentials"), (403, "rules"), (404, "no such file"), (429, "limit of requests"), (500, "500")],
)
def test_what_kaggle_refuses_is_one_sentence(
    server: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, wanted: str
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    server.status = status
    assert wanted in refusal(tmp_path)


def refusal(folder: Path) -> str:
    with pytest.raises(Refused) as error:
        read(folder)
    (finding,) = error.value.findings
    assert TOKEN not in str(finding)
    return str(finding)


def test_a_wrong_token_is_refused(server: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "wrong")
    assert "refuses the credentials" in refusal(tmp_path)


def test_a_stream_that_is_cut_is_refused(server: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    server.cut = 1000
    assert "cut off" in refusal(tmp_path)


def test_no_network_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Kaggle) -> None:
    from kagglesdk import kaggle_env

    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, "http://127.0.0.1:9")
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    assert "cannot be reached" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [({}, "KAGGLE_API_TOKEN"), ({"KAGGLE_USERNAME": "anna"}, "KAGGLE_KEY"), ({"KAGGLE_KEY": "k"}, "KAGGLE_USERNAME")],
)
def test_missing_credentials_are_named(
    server: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], wanted: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert f"the environment has no {wanted}" in refusal(tmp_path)
    assert not server.asked


def test_a_token_of_the_home_folder_is_not_used(
    server: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client prefers a token in the home folder to user and key."""
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / "access_token").write_text("another")
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_USERNAME", "anna")
    monkeypatch.setenv("KAGGLE_KEY", "key")
    read(tmp_path / "work")
    assert server.asked[0][1] == "Basic YW5uYTprZXk="


def test_a_token_stands_in_no_file(
    server: Kaggle, tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run, its cache, and of what a build writes; pods get it by reference to a Secret."""
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    small = ["dataset=gresearch", "dataset.source=kaggle", "model=lightgbm", "hw.threads=1", "model.steps=5"]
    small += ["split.train=1d", "split.test=8h", "model.report_every=5", "model.early_stopping_rounds=null"]
    code, out, err = tapeline("run", *small)
    assert (code, err) == (0, "")
    assert TOKEN not in out
    secret = ["target.data_secret=kaggle"]
    for target in ("argo", "kfp"):
        code, out, err = tapeline("build", f"target={target}", *small, *secret)
        assert code == 0, err
        text = "".join(path.read_text() for path in (folder / "workflows" / target).rglob("*.yaml"))
        assert "KAGGLE_API_TOKEN" in text
    every = [path for path in folder.rglob("*") if path.is_file()]
    assert len(every) > 10
    assert not [path for path in every if TOKEN.encode() in path.read_bytes()]
    assert not [line for line in sys.argv if TOKEN in line]
