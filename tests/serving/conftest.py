"""Stores in a folder and in object storages on loopback, and a server."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapeline.serving.servers.server import Server, follow_store
from tests.serving import storage_servers
from tests.serving.servables import http, pin, running, until, write, write_single

Location = Path | str


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of an S3 server; the environment of this process and of its children has the URL and credentials."""
    with storage_servers.serving(storage_servers.s3()) as endpoint, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", "a")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setitem(os.environ, "NO_PROXY", "127.0.0.1")
        yield endpoint


@pytest.fixture
def s3(s3_endpoint: str) -> str:
    """The URL of an empty store in a new bucket."""
    import fsspec

    url = f"s3://bucket-{uuid.uuid4().hex[:8]}"
    fsspec.filesystem("s3", use_listings_cache=False).mkdir(url)
    return f"{url}/prefix"


@pytest.fixture
def gs() -> Iterator[str]:
    """The URL of an empty store in a fake Google Cloud Storage."""
    import fsspec

    with (
        storage_servers.serving(storage_servers.GoogleCloudStorage()) as endpoint,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("STORAGE_EMULATOR_HOST", endpoint)
        patch.setenv("FSSPEC_GS_TOKEN", "anon")
        fsspec.filesystem("gs").clear_instance_cache()
        yield "gs://bucket/prefix"
        fsspec.filesystem("gs").clear_instance_cache()


@pytest.fixture(params=["folder", "s3", pytest.param("gs", marks=pytest.mark.long), "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """The location of an empty store: a folder, and each object storage."""
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return tmp_path / "store" if request.param == "folder" else str(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with versions 1 and 2 of m and version 123 of half, and no models.config."""
    folder = tmp_path_factory.mktemp("models")
    write(folder / "m" / "1", "aaaaaaaaaaaa")
    write(folder / "m" / "2", "bbbbbbbbbbbb", bias=1.0)
    write_single(folder / "half" / "123")
    return folder


@pytest.fixture(scope="module")
def served(models: Path) -> Iterator[Server]:
    """A server on which m version 1 and half version 123 are live."""
    pin(models, m=1, half=123)
    with running(follow_store(str(models))) as server:
        until(lambda: http(server.rest_port, "/v1/models/half/metadata")[0] == 200)
        until(lambda: http(server.rest_port, "/v1/models/m/metadata")[0] == 200)
        yield server


@pytest.fixture
def folder_store(models: Path, tmp_path: Path) -> Path:
    """A copy of the versions of m for one test, with no live version."""
    for number in (1, 2):
        shutil.copytree(models / "m" / str(number), tmp_path / "m" / str(number))
    return tmp_path
