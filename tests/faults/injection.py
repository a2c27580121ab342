"""A store whose file system fails, or whose process is killed, at each write of each command."""

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
from pathlib import Path
from typing import Any

from tapeline.config.schema import Serving
from tapeline.errors import Refused
from tapeline.serving import saved_model
from tapeline.serving.store import location, operations, state, versions
from tests.serving.publishing import SERVING

CALLS: tuple[tuple[Any, str], ...] = (
    *((os, name) for name in ("replace", "rename", "fsync", "pwrite")),
    *((shutil, "copyfile"), (Path, "write_bytes"), (Path, "mkdir"), (fcntl, "flock")),
)
"""What a command does to the file system, by module and function."""
ERRORS = ("killed", *(errno.errorcode[each] for each in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)), "ENOLCK")


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


def servable(folder: Path, letter: str) -> Path:
    """A small folder that looks like a servable."""
    made = folder / letter
    (made / "assets.extra").mkdir(parents=True)
    (made / "saved_model.pb").write_bytes(letter.encode() * 100)
    about = {"name": "m", "model_version": letter * 12, "features": ["a"], "data": "0" * 64}
    (made / saved_model.METADATA).write_text(json.dumps(about))
    (folder / "metrics.json").write_text(json.dumps({"gate": {"accepted": True}}))
    return made


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


def prepare(folder: Path) -> tuple[Path, Path]:
    """Servables a to e, and a store in which a, then b were published."""
    models, store = folder / "models", folder / "store"
    for letter in "abcde":
        servable(models, letter)
    for letter in "ab":
        publish(models / letter, store)
    return models, store


def attempt(models: Path, right: Path, folder: Path, name: str, number: int, error: str) -> tuple[bool, list[str]]:
    """Run a command with one fault, then every command without one.

    Returns:
        Whether the fault came before the command ended, and what is wrong.
    """
    store = folder / "faulty"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(right, store)
    ended = "done"
    with failing(number, error) as made:
        try:
            commands(models)[name](store)
        except Killed:
            ended = "killed"
        except (Refused, OSError):
            ended = "refused"
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
    verify, saved_model.verify = saved_model.verify, lambda folder: None  # the fake servables do not load
    try:
        models, right = prepare(folder)
        for name in AFTER:
            for error in ERRORS:
                number, came = 1, True
                while came:
                    came, wrong = attempt(models, right, folder, name, number, error)
                    counted["runs"] += 1
                    counted["kills"] += error == "killed"
                    counted["results" if not wrong else "wrong numbers"] += 1
                    for each in wrong:
                        print(f"  {name} with {error} at write {number}: {each}")
                    number += 1 if times >= 100 else source.randrange(1, max(2, 200 // times))
    finally:
        saved_model.verify = verify
    return counted
