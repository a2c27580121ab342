"""Stores of every kind, on this machine."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapeline.serving.servers.server import Server, follow_store
from tests.serving import servers
from tests.serving.servables import http, pin, running, until, write, write_single

Place = Path | str


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """An S3 server, named by the environment as people name theirs, to this process and those it starts."""
    with servers.serving(servers.s3()) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("AWS_ACCESS_KEY_ID", "a")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setitem(os.environ, "NO_PROXY", "127.0.0.1")
        yield address


@pytest.fixture
def s3(s3_address: str) -> str:
    """An empty store in a bucket."""
    import fsspec

    url = f"s3://bucket-{uuid.uuid4().hex[:8]}"
    fsspec.filesystem("s3", use_listings_cache=False).mkdir(url)
    return f"{url}/prefix"


@pytest.fixture
def gs() -> Iterator[str]:
    """An empty store in the small stand-in for Google's."""
    import fsspec

    with servers.serving(servers.Google()) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", address)
        patch.setenv("FSSPEC_GS_TOKEN", "anon")
        fsspec.filesystem("gs").clear_instance_cache()
        yield "gs://bucket/prefix"
        fsspec.filesystem("gs").clear_instance_cache()


@pytest.fixture(params=["folder", "s3", "gs", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store of each kind."""
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return tmp_path / "store" if request.param == "folder" else str(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 2 of m, version 123 of half."""
    folder = tmp_path_factory.mktemp("models")
    write(folder / "m" / "1", "aaaaaaaaaaaa")
    write(folder / "m" / "2", "bbbbbbbbbbbb", bias=1.0)
    write_single(folder / "half" / "123")
    return folder


@pytest.fixture(scope="module")
def served(models: Path) -> Iterator[Server]:
    pin(models, m=1, half=123)
    with running(follow_store(str(models))) as started:
        until(lambda: http(started.rest_port, "/v1/models/half/metadata")[0] == 200)
        until(lambda: http(started.rest_port, "/v1/models/m/metadata")[0] == 200)
        yield started


@pytest.fixture
def store(models: Path, tmp_path: Path) -> Path:
    """A store of one's own, with nothing live."""
    for number in (1, 2):
        shutil.copytree(models / "m" / str(number), tmp_path / "m" / str(number))
    return tmp_path
