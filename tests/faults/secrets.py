"""A secret planted in many places, and commands in processes of their own: it must be found nowhere.

Looked at: each file that was written and its name, all that was said, the YAML for clusters, and the command lines of
all processes, read again and again while the commands run.
"""

from __future__ import annotations

import http.server
import os
import random
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT
from tests.datasets.closes import table
from tests.faults.disks import judge
from tests.test_redaction import ONE_LINE, SECRET, TEXTS

SMALL = ["model=flat", "model.steps=2", "model.report_every=1"]
SEARCH = ["tune=optuna", "tune.trials=2", "tune.parallel=2", "tune.space={model.learning_rate: {low: 0.1, high: 0.2}}"]
CSV = "dataset.source=csv"
SQL = ["dataset.source=sql", "dataset.url=postgresql://me@127.0.0.1:1/prices"]
SITE = "http://127.0.0.1:PORT"
S3 = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET}
PART = {"PART": SECRET}
REFERRED: dict[str, tuple[list[str], dict[str, str]]] = {
    "a URL of the environment": ([CSV, "dataset.path=${oc.env:PART}"], {"PART": f"{SITE}/closes.csv?sig={SECRET}"}),
    "a part of a URL": ([CSV, "dataset.path=" + SITE + "/closes.csv?sig=${oc.env:PART}"], PART),
    "a user of a URL": ([CSV, "dataset.path=http://${oc.env:PART}@127.0.0.1:PORT/closes.csv"], PART),
    "the header of a redirect": ([CSV, "dataset.path=" + SITE + "/moved?sig=${oc.env:PART}"], PART),
    "the text of an error": ([CSV, "dataset.path=" + SITE + "/denied?sig=${oc.env:PART}"], PART),
    "the name of a column": ([CSV, f"dataset.path={SITE}/closes.csv", "dataset.date_column=${oc.env:PART}"], PART),
    "a variable with a password": ([*SQL, "dataset.password_env=PART"], PART),
    "a file with a password": ([*SQL, "dataset.password_file=password"], {}),
    "the password of a study": (
        [*SEARCH, "tune.storage=postgresql://me@127.0.0.1:1/x", "tune.password_env=PART"], PART,
    ),
    "keys of an object storage": (["serving.store=s3://bucket/models"], S3),
}  # fmt: skip
"""Overrides that refer to the secret, which is in the environment or a file; PORT is the server's."""


@dataclass
class Watch:
    """Reads the command lines of all processes until it is stopped."""

    typed: set[int] = field(default_factory=set)
    """Processes whose user typed the secret."""
    read: set[int] = field(default_factory=set)
    found: dict[int, str] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def follow(self) -> None:
        """Look at every process, again and again."""
        while not self.stopped.wait(0.005):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                pid = int(path.parent.name)
                self.read.add(pid)
                if SECRET.encode() in line:
                    self.found[pid] = line.replace(b"\0", b" ").decode(errors="replace")


@contextmanager
def watching() -> Iterator[Watch]:
    """A watch, for a block."""
    watch = Watch()
    thread = threading.Thread(target=watch.follow)
    thread.start()
    try:
        yield watch
    finally:
        watch.stopped.set()
        thread.join()


class Site(http.server.BaseHTTPRequestHandler):
    """Gives closes.csv to those who know the secret, and tells it in a redirect and in an error."""

    content = b""

    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            self.answer(302, b"", ("Location", f"http://127.0.0.1:1/closes.csv?sig={SECRET}"))
        elif self.path.startswith("/closes.csv"):
            self.answer(200, self.content)
        else:
            self.answer(403, f"sig={SECRET} is denied".encode(), ("X-Signature", SECRET))

    def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status, f"sig={SECRET}" if status == 403 else None)
        for name, value in (("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main(times: int, source: random.Random, folder: Path) -> Counter[str]:
    """Plant it in each place, or with fewer `times` of 100 in some."""
    shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    (folder / "conf" / "local").mkdir()
    Site.content = table(folder).read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    counted: Counter[str] = Counter()
    places = [*ONE_LINE, *REFERRED]
    chosen = source.sample(places, max(1, len(places) * min(times, 100) // 100))
    with watching() as watch:
        for place in chosen:
            if place in REFERRED:
                overrides, environment = REFERRED[place]
                counted += referred(folder, overrides, environment, server.server_port)
            else:
                counted += written(folder, TEXTS[place], watch)
            if leaks := found(folder):
                print(f"  {place}: the secret is in {', '.join(leaks)}")
                counted["wrong numbers"] += len(leaks)
    server.shutdown()
    shown = [line for pid, line in watch.found.items() if pid not in watch.typed]
    print(*[f"  a command line: {line}" for line in shown], sep="\n", end="\n" if shown else "")
    counted["wrong numbers"] += len(shown)
    print(f"  planted in {len(chosen)} places; the command lines of {len(watch.read)} processes were read")
    return counted


def written(folder: Path, text: str, watch: Watch) -> Counter[str]:
    """The secret is written into the configuration: in a file of this machine, and on the command line."""
    (folder / "conf" / "local" / "mine.yaml").write_text(f"dataset:\n  source: csv\n  path: '{text}'\n")
    counted = tapeline(folder, ["run", *SMALL])
    (folder / "conf" / "local" / "mine.yaml").unlink()
    return counted + tapeline(folder, ["build", "target=argo", CSV, f"dataset.path='{text}'"], watch=watch)


def referred(folder: Path, overrides: list[str], environment: Mapping[str, str], port: int) -> Counter[str]:
    """The configuration refers to the secret."""
    values = {name: value.replace("PORT", str(port)) for name, value in environment.items()}
    words = [each.replace("PORT", str(port)) for each in overrides]
    (folder / "password").write_text(SECRET)
    counted = tapeline(folder, ["run", *SMALL, *SEARCH[: 0 if SEARCH[0] in words else None], *words], values)
    for target in ("argo", "kfp"):
        counted += tapeline(folder, ["build", f"target={target}", *words], values)
    (folder / "password").unlink()
    return counted


def tapeline(
    folder: Path, words: list[str], environment: Mapping[str, str] | None = None, watch: Watch | None = None
) -> Counter[str]:
    """A command in a process of its own; what it says is kept in a file, where it is looked for."""
    local = {"TAPELINE_CONF": str(folder / "conf"), "TAPELINE_LOCAL": "true", "AWS_MAX_ATTEMPTS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tapeline", *words], cwd=folder, env={**os.environ, **local, **(environment or {})},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if watch:
        watch.typed.add(process.pid)
    out, err = process.communicate()
    (folder / "said.txt").write_text(out + err)
    return judge(process.returncode, err)


def found(folder: Path) -> list[str]:
    """Where the secret is, below a folder; what was said is looked at once."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    leaks = [str(path.relative_to(folder)) for path in paths if SECRET.encode() in path.read_bytes()]
    leaks += [str(path.relative_to(folder)) for path in folder.rglob("*") if SECRET in path.name]
    for name in ("runs", "said.txt", ".tapeline", "workflows"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return leaks
