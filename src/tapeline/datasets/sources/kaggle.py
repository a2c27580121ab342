"""A file of a Kaggle competition, by the official client: make run dataset=gresearch dataset.source=kaggle

KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, come from the environment; on a cluster from the Secret that
target.data_secret names. The account must have accepted the rules of the competition. Nothing writes a credential.

The client logs in when it is imported, reads files of the home folder and hides failures. So it is imported here
alone, with an empty home folder and without credentials, and gets them by its API class.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapeline import files
from tapeline.config.schema import Dataset
from tapeline.datasets.sources import Known, csv
from tapeline.datasets.sources.archives import bounds, decompressed
from tapeline.errors import Finding, Refused, refuse

if TYPE_CHECKING:
    import polars as pl

READS: tuple[str, ...] = ()
KEYS = ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY")
"""Variables of the environment, or keys of a Secret: a token, or the two others."""
RETRIES = 5
"""Of a download whose stream is cut; each goes on where the one before ended."""
TIMEOUT_SECONDS = 60
"""For an answer, and between two blocks of a download."""
WHERE = "dataset.source=kaggle"


def read(dataset: Dataset, simulate: object, folder: Path) -> tuple[pl.LazyFrame, str]:
    """The competition's file as a table of text.

    Raises:
        Refused: credentials are missing or refused, the rules are not accepted, there is no such file, or the download
            is not complete.
    """
    if findings := list(check(dataset)):
        raise Refused(*findings)
    file, name = dataset.FILE or "", f"{dataset.COMPETITION}/{dataset.FILE}"
    credentials = _credentials(os.environ)
    inside = folder / "kaggle"
    inside.mkdir()
    with _without_credentials(inside):
        path = _downloaded(dataset.COMPETITION or "", dataset.PACKED or file, inside, credentials)
    return csv.scan(decompressed(path, name, folder, file, bounds(dataset)), name), name


def check(dataset: Dataset) -> Iterator[Finding]:
    """The dataset must be a competition of Kaggle's; credentials are needed only where the data is read."""
    if not (dataset.COMPETITION and dataset.FILE):
        fix = "choose dataset.source=simulated, csv or parquet"
        yield Finding(WHERE, f"dataset {dataset.name} is in no competition of Kaggle's", fix)


def seen(dataset: Dataset, known: Known | None = None) -> str | None:
    """A digest of the competition's and the file's name: the data of an ended competition does not change."""
    return files.digest("kaggle", dataset.COMPETITION, dataset.FILE)


def _credentials(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Token, or user and key, as the client's class takes them."""
    token, user, key = (environment.get(name, "").strip() or None for name in KEYS)
    if token:
        return {"api_token": token}
    if user and key:
        return {"username": user, "password": key}
    lacks = "KAGGLE_KEY" if user else "KAGGLE_USERNAME" if key else "KAGGLE_API_TOKEN"
    problem = f"the environment has no {lacks}"
    fix = "set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY; on a cluster put them into target.data_secret"
    raise refuse(WHERE, problem, fix)


@contextmanager
def _without_credentials(folder: Path) -> Iterator[None]:
    """An empty home folder and no variable of the client's while it is imported and used; what it prints is dropped."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        del os.environ[name]
    os.environ |= {"HOME": str(folder), "KAGGLE_CONFIG_DIR": str(folder), "XDG_CONFIG_HOME": str(folder)}
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _downloaded(competition: str, file: str, folder: Path, credentials: Mapping[str, str | None]) -> Path:
    """The file, or the zip archive in which Kaggle hands out a large one."""
    try:
        from kaggle.api.kaggle_api_extended import KaggleApi
        from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFileRequest
    except ImportError:
        raise refuse(WHERE, "the client of Kaggle is not installed", "install tapeline[kaggle]") from None
    import requests
    import urllib3

    name = f"{competition}/{file}"
    request = ApiDownloadDataFileRequest()
    request.competition_name, request.file_name = competition, file
    try:
        with KaggleApi.build_kaggle_client_with_params([], **credentials) as client:
            http = client.http_client()
            _limit_waiting(http)
            response = client.competitions.competition_api_client.download_data_file(request)
            path = folder / _name_of(response.url, file)
            KaggleApi().download_file(
                response, str(path), http, quiet=True, max_retries=RETRIES, timeout=TIMEOUT_SECONDS
            )
    except requests.exceptions.HTTPError as error:
        raise _refused(error, competition, name) from None
    except (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.ProtocolError, ValueError) as error:
        problem = f"the download was cut off ({_plain(error, credentials)})"
        raise refuse(name, problem, "run again; use dataset.source=csv with a file that you have downloaded") from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        problem = f"Kaggle cannot be reached ({_plain(error, credentials)})"
        raise refuse(WHERE, problem, "check the network and the variable HTTPS_PROXY") from None
    return path


def _limit_waiting(http: Any) -> None:
    """The client sets no timeout for its requests, so that a silent server would hold a run for ever."""
    http._init_session()
    http._session.send = partial(http._session.send, timeout=TIMEOUT_SECONDS)


def _name_of(url: str, file: str) -> str:
    """The file's name, with .zip where Kaggle compressed it."""
    last = url.partition("?")[0].rpartition("/")[2]
    return last if last in (f"{file}.zip", file) else file


def _refused(error: Any, competition: str, name: str) -> Refused:
    """What a status of Kaggle's API means."""
    status = getattr(error.response, "status_code", 0)
    if status == 401:
        return refuse(WHERE, "Kaggle refuses the credentials", "make a new token in your account, and set it again")
    if status == 403:
        problem = "Kaggle refuses access: the rules are not accepted, or the token may not read it"
        return refuse(f"competition {competition}", problem, "accept the rules on its page with the token's account")
    if status == 404:
        return refuse(name, "Kaggle has no such file", "check that the competition is still there")
    if status == 429:
        return refuse(WHERE, "Kaggle's limit of requests is used up", "wait some minutes, and run again")
    return refuse(WHERE, f"Kaggle answers with status {status}", "run again later")


def _plain(error: BaseException, credentials: Mapping[str, str | None]) -> str:
    """The error in one short line without credentials."""
    text = " ".join(str(error).split())[:200] or type(error).__name__
    for secret in credentials.values():
        text = text.replace(secret or "\0", "***")
    return text
