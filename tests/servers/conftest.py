"""Servers from .venv-servers, which `make test-servers` makes, started on loopback; what is missing is named."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

SERVERS = ROOT / ".venv-servers"
PASSWORD = "h@nter/2:?"
GUARD = 300
"""Seconds in which even a busy machine starts a server."""
SPATIAL = """
import pathlib, duckdb, duckdb_extension_spatial as package
found = next(pathlib.Path(package.__file__).parent.rglob("*.duckdb_extension"))
duckdb.connect().execute(f"INSTALL '{found}'")
"""
"""Puts the extension that the emulator of BigQuery loads where it looks for it, instead of fetching it."""


def program(name: str) -> Path:
    """A program of .venv-servers; the test is skipped where it is missing."""
    path = SERVERS / "bin" / name
    if not path.is_file():
        pytest.skip(f"the program {name} is missing in {SERVERS.name}; make test-servers installs it")
    return path


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on; SeaweedFS derives others by adding 10000, so they are below 50000."""
    found: list[int] = []
    for port in range(20_000 + os.getpid() % 10_000, 50_000):
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
        if len(found) == count:
            break
    return found


@dataclass
class Program:
    """A server process that can be killed and started again."""

    command: list[str]
    log: Path
    answers: Callable[[], bool]
    """Whether it is ready."""
    more: dict[str, Any] = field(default_factory=dict)
    """For subprocess.Popen."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait for its first answer."""
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=out, start_new_session=True, **self.more)
        guard = time.monotonic() + GUARD
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < guard, self.log.read_text(errors="replace")[-2000:]
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it and its children."""
        if self.process:
            os.killpg(self.process.pid, number)
            self.process.wait()
            self.process = None


@contextmanager
def started(program: Program, stop: int = signal.SIGKILL) -> Iterator[Program]:
    """A server, from its first answer to the end of the block."""
    try:
        program.start()
        yield program
    finally:
        program.stop(stop)


def answers_http(address: str) -> bool:
    """Whether a server there answers a GET."""
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server whose user `reader` needs PASSWORD."""

    port: int
    programs: Path
    program: Program

    @property
    def url(self) -> str:
        return f"postgresql://reader@127.0.0.1:{self.port}/postgres"

    def execute(self, statements: str) -> None:
        import psycopg

        with psycopg.connect(f"host=127.0.0.1 port={self.port} user=reader dbname=postgres", password=PASSWORD) as base:
            base.execute(statements)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(f"host=127.0.0.1 port={self.port} user=reader dbname=postgres", password=PASSWORD) as base:
            rows: list[tuple[Any, ...]] = base.execute(statement).fetchall()
            return rows


def _postgres_programs() -> Path:
    """Debian's, or else pgserver's."""
    places = [*Path("/usr/lib/postgresql").glob("*/bin"), *SERVERS.glob("lib/*/site-packages/pgserver/pginstall/bin")]
    found = next((place for place in places if (place / "initdb").is_file()), None)
    if found is None:
        pytest.skip("PostgreSQL is missing; install Debian's package postgresql; make test-servers installs pgserver")
    return found


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    programs, (port,) = _postgres_programs(), free_ports(1)
    # it refuses to run as root
    user: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="tapeline-postgres-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if user:
            nobody = pwd.getpwnam("nobody")
            for path in (folder, folder / "password"):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        init = [str(programs / "initdb"), "--username=reader", f"--pwfile={folder}/password", "--auth=scram-sha-256"]
        subprocess.run([*init, "--no-sync", f"{folder}/data"], cwd=folder, check=True, capture_output=True, **user)
        command = [str(programs / "postgres"), "-D", f"{folder}/data", "-p", str(port), "-k", str(folder)]
        ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]

        def answers() -> bool:
            return subprocess.run(ready, check=False, capture_output=True).returncode == 0

        command += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        # SIGINT: it ends sessions, and gives back its shared memory
        with started(Program(command, folder / "log", answers, {"cwd": folder, **user}), signal.SIGINT) as program:
            yield Postgres(port, programs, program)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_seaweedfs(folder: Path) -> Iterator[Program]:
    """SeaweedFS with its files in a folder, as the S3 server that the environment names."""
    weed = program("weed")
    master, volume, filer, s3 = free_ports(4)
    command = [
        *(str(weed), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"),
        *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-s3", f"-s3.port={s3}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64", "-volume.max=500"),
    ]
    address = f"http://127.0.0.1:{s3}"
    # without the keys below, which it would take for those of its only user
    server = Program(command, folder / "log", lambda: answers_http(address), {"env": dict(os.environ)})
    with started(server), pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The S3 server that the environment names."""
    with running_seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_endpoint(seaweedfs: Program) -> str:
    """Its address."""
    return os.environ["AWS_ENDPOINT_URL"]


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """An emulator of BigQuery, which the environment names."""
    pytest.importorskip("google.cloud.bigquery", reason="google-cloud-bigquery is not installed")
    bqemulator, folder = program("bqemulator"), tmp_path_factory.mktemp("bigquery")
    rest, grpc = free_ports(2)
    command = [str(bqemulator), "start", f"--rest-port={rest}", f"--grpc-port={grpc}", "--project=prices"]
    address = f"http://127.0.0.1:{rest}"
    datasets = f"{address}/bigquery/v2/projects/prices/datasets"
    home = {**os.environ, "HOME": str(folder)}
    subprocess.run([program("python"), "-c", SPATIAL], env=home, check=True, capture_output=True)
    server = Program(command, folder / "log", lambda: answers_http(datasets), {"env": home, "cwd": folder})
    with started(server), pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIGQUERY_EMULATOR_HOST", address)
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield server


@pytest.fixture(scope="session")
def bigquery(emulator: Program) -> str:
    """Its address."""
    return os.environ["BIGQUERY_EMULATOR_HOST"]
