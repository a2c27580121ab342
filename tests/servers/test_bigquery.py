"""dataset.source=sql on an emulator of BigQuery, by SQLAlchemy's driver for the real one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.datasets.sources.test_files import MARKETS, closes, ingest

pytestmark = pytest.mark.servers

QUERY = "dataset.query='SELECT Date, Close FROM closes.{ticker}'"


class Tokens(BaseHTTPRequestHandler):
    """Gives every service account a token."""

    def do_POST(self) -> None:
        body = json.dumps({"access_token": "any", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The key file of a service account."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from google.oauth2.service_account import Credentials

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    server = HTTPServer(("127.0.0.1", 0), Tokens)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = tmp_path_factory.mktemp("account") / "key.json"
    facts = {
        "type": "service_account", "project_id": "prices", "private_key": encoded.decode(),
        "client_email": "reader@prices", "token_uri": f"http://127.0.0.1:{server.server_port}/",
    }  # fmt: skip
    path.write_text(json.dumps(facts))
    with pytest.MonkeyPatch.context() as patch:
        # it would ask a server of Google's where the account may be used
        patch.setattr(Credentials, "_is_regional_access_boundary_lookup_required", lambda _: False)
        yield path
    server.shutdown()


def client(address: str, account: Path) -> Any:
    """The driver's client."""
    from google.cloud import bigquery as driver

    return driver.Client.from_service_account_json(str(account), client_options={"api_endpoint": address})


def fill(address: str, account: Path) -> str:
    """A dataset with a table of dates and doubles for each market; the override with its URL."""
    driver = client(address, account)
    driver.create_dataset("closes", exists_ok=True)
    for market in MARKETS:
        rows = closes().select(pl.col("date").cast(pl.String), market).drop_nulls().rows()
        driver.query_and_wait(f"CREATE OR REPLACE TABLE closes.{market} (Date DATE, Close FLOAT64)")
        values = ", ".join(f"(DATE '{date}', {close!r})" for date, close in rows[::-1])
        driver.query_and_wait(f"INSERT INTO closes.{market} (Date, Close) VALUES {values}")
    return f"dataset.url='bigquery://prices/closes?credentials_path={account}'"


def test_tables_are_read_as_the_file_that_they_were_made_from(bigquery: str, account: Path, tmp_path: Path) -> None:
    closes().write_csv(tmp_path / "closes.csv")
    expected = ingest("dataset.source=csv", f"dataset.path={tmp_path}/closes.csv")
    assert ingest("dataset.source=sql", fill(bigquery, account), QUERY).equals(expected)
