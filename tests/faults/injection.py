"""A store whose file system or S3 fails, or whose process is killed, at each write of each command."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from tapeline.config.schema import Serving
from tapeline.errors import Refused
from tapeline.serving import saved_model
from tapeline.serving.store import location, operations, state, versions
from tests.faults import stores
from tests.faults.stores import Content
from tests.serving.publishing import SERVING

CALLS: tuple[tuple[Any, str], ...] = (
    *((os, name) for name in ("replace", "rename", "fsync", "pwrite")),
    *((shutil, "copyfile"), (Path, "write_bytes"), (Path, "mkdir"), (fcntl, "flock")),
)
"""What a command does to the file system, by module and function."""
FILE_ERRORS = ("killed", "ENOSPC", "EDQUOT", "EFBIG", "EIO", "ENOLCK")
REQUESTS = ("put_object", "delete_object", "delete_objects", "upload_part", "complete_multipart_upload")
"""What a command changes in S3, by request."""
S3_ERRORS = ("killed", "killed behind it", "no answer", "no answer behind it", "SlowDown")
"""Before the request arrives, or behind it: it has been done, and the client does not know it."""


class Killed(BaseException):
    """The process ends here: nothing behind it runs."""


@contextmanager
def failing(number: int, error: str) -> Iterator[list[str]]:
    """Let the call with this number, of CALLS, fail; after a kill, all calls do. Yields the names of the calls."""
    made: list[str] = []
    dead = False
    reals = {(owner, name): getattr(owner, name) for owner, name in CALLS}

    def wrapped(real: Any, name: str) -> Any:
        def call(*arguments: Any, **keys: Any) -> Any:
            nonlocal dead
            if error != "ENOLCK" or name == "flock":
                made.append(name)
            if dead:
                raise Killed
            if len(made) == number and made[-1] == name:
                if error == "killed":
                    dead = True
                    raise Killed
                code = getattr(errno, error)
                raise OSError(code, os.strerror(code), str(arguments[0]))
            return None if name == "fsync" else real(*arguments, **keys)

        return call

    real_rmtree = shutil.rmtree
    for (owner, name), real in reals.items():
        setattr(owner, name, wrapped(real, name))
    shutil.rmtree = lambda *arguments, **keys: None if dead else real_rmtree(*arguments, **keys)  # type: ignore[assignment]
    try:
        yield made
    finally:
        shutil.rmtree = real_rmtree
        for (owner, name), real in reals.items():
            setattr(owner, name, real)


@contextmanager
def failing_requests(number: int, error: str) -> Iterator[list[str]]:
    """Let the request with this number, of REQUESTS, fail; after a kill, all requests do. Yields their names."""
    from fsspec.asyn import sync_wrapper
    from s3fs import S3FileSystem
    from s3fs.core import ClientError, HTTPClientError
    from s3fs.errors import translate_boto_error

    made: list[str] = []
    dead = False
    real = S3FileSystem._call_s3
    no_answer = HTTPClientError(error="read timeout")

    async def call(self: Any, method: str, *arguments: Any, **keys: Any) -> Any:
        nonlocal dead
        if dead:
            raise no_answer
        if method in REQUESTS:
            made.append(method)
        if method not in REQUESTS or len(made) != number:
            return await real(self, method, *arguments, **keys)
        dead = error.startswith("killed")
        if error == "SlowDown":
            answer = {"Error": {"Code": "SlowDown", "Message": "Please reduce your request rate."}}
            raise translate_boto_error(ClientError(answer, method))
        if error.endswith("behind it"):
            await real(self, method, *arguments, **keys)
        raise no_answer

    calls = S3FileSystem._call_s3, S3FileSystem.call_s3
    S3FileSystem._call_s3, S3FileSystem.call_s3 = call, sync_wrapper(call)
    try:
        yield made
    finally:
        S3FileSystem._call_s3, S3FileSystem.call_s3 = calls
    if dead:
        raise Killed


def servable(folder: Path, letter: str) -> Path:
    """A small folder that looks like a servable."""
    made = folder / letter
    (made / "assets.extra").mkdir(parents=True)
    (made / "saved_model.pb").write_bytes(letter.encode() * 100)
    about = {"name": "m", "model_version": letter * 12, "features": ["a"], "data": "0" * 64}
    (made / saved_model.METADATA).write_text(json.dumps(about))
    (folder / "metrics.json").write_text(json.dumps({"gate": {"accepted": True}}))
    return made


def servables(folder: Path) -> Path:
    """The folder, with servables a to e."""
    for letter in "abcde":
        servable(folder, letter)
    return folder


def serving() -> Serving:
    """The section of a model m."""
    return SERVING.model_copy(update={"name": "m", "keep": 4})


def publish(made: Path, store: Path | str) -> versions.Version:
    """As `tapeline publish`."""
    return operations.publish(made, made.parent / "metrics.json", store, serving())[0]


def commands(models: Path) -> dict[str, Callable[[Path | str], object]]:
    """The commands that change a store, by name."""
    return {
        "publish": lambda store: publish(models / "c", store),
        "canary": lambda store: operations.canary(1, None, store, serving()),
        "promote": lambda store: operations.promote(1, store, serving()),
        "rollback": lambda store: operations.rollback(store, serving()),
    }


AFTER = {
    "publish": {"m": 3},
    "canary": {"m": 2, "m-canary": 1},
    "promote": {"m": 1},
    "rollback": {"m": 1},
}
"""What models.config pins when a command has succeeded; before, m is 2."""


def prepare(models: Path, store: Path | str) -> Content:
    """What a store has in which a, then b were published."""
    for letter in "ab":
        publish(models / letter, store)
    return stores.content(store)


def attempt(
    models: Path, right: Content, store: Path | str, name: str, number: int, error: str
) -> tuple[bool, list[str]]:
    """Run a command with one fault, then every command without one.

    Returns:
        Whether the fault came before the command ended, and what is wrong.
    """
    stores.fill(store, right)
    made: list[str] = []
    ended = "done"
    try:
        with (failing if isinstance(store, Path) else failing_requests)(number, error) as made:
            try:
                commands(models)[name](store)
            except (Refused, OSError):
                ended = "refused"
    except Killed:
        ended = "killed"
    except Exception as error:
        return number <= len(made), [f"{name} ended in a traceback: {error!r}"]
    found = dict(state.load(location.backend(store)).pins)
    allowed = {"done": [AFTER[name]], "refused": [{"m": 2}], "killed": [{"m": 2}, AFTER[name]]}[ended]
    wrong = [] if found in allowed else [f"{name} ended as {ended}, and models.config pins {found}"]
    return number <= len(made), wrong + every_command(models, store)


def every_command(models: Path, store: Path | str) -> list[str]:
    """What goes wrong with a store in which each command ought to work."""
    try:
        list(operations.table(store, "m"))
        publish(models / "d", store)
        live = versions.read(store, "m").live()
        assert live is not None
        if live.problem or live.model_version != "d" * 12:
            return [f"published d, and live is {live}"]
        if next(versions.read(store, "m").history())["number"] != live.number:
            return ["the log does not end with what is live"]
        operations.canary(models / "e", models / "metrics.json", store, serving())
        operations.promote(None, store, serving())
        operations.rollback(store, serving())
        if versions.read(store, "m").live() != live:
            return [f"rolled back, and live is {versions.read(store, 'm').live()} instead of {live}"]
    except Refused as refusal:
        return [f"refused: {refusal}"]
    return []


def main(times: int, source: random.Random, folder: Path) -> Counter[str]:
    """Each command with a fault at each of its writes, and each error; with fewer `times`, some of them."""
    counted: Counter[str] = Counter()
    with stores.both(folder) as (in_folder, in_s3):
        models = servables(folder / "models")
        for store, errors in ((in_folder, FILE_ERRORS), (in_s3, S3_ERRORS)):
            right = prepare(models, store)
            for name, error in product(AFTER, errors):
                counted += _each_write(models, right, store, name, error, times, source)
    return counted


def _each_write(
    models: Path, right: Content, store: Path | str, name: str, error: str, times: int, source: random.Random
) -> Counter[str]:
    counted: Counter[str] = Counter()
    number, came = 1, True
    while came:
        came, wrong = attempt(models, right, store, name, number, error)
        counted["runs"] += 1
        counted["kills"] += error.startswith("killed")
        counted["results" if not wrong else "wrong numbers"] += 1
        for each in wrong:
            print(f"  {store}: {name} with {error} at write {number}: {each}")
        number += 1 if times >= 100 else source.randrange(1, max(2, 200 // times))
    return counted
