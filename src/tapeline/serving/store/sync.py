"""A folder that mirrors what a store serves, since TF Serving reads no object storage.

    tapeline store sync s3://bucket/prefix /models follow=true

Runs beside the server, in a container without TensorFlow. Versions come first, each whole under its
name or not at all, then models.config, in one rename; what it named before goes one round later.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType

from tapeline import files
from tapeline.errors import Refused, refuse
from tapeline.serving.store import location as places
from tapeline.serving.store import pins as texts
from tapeline.serving.store import state
from tapeline.serving.store.backend import Place
from tapeline.serving.store.folder import Local
from tapeline.serving.store.pins import CANARY

LOG = logging.getLogger(__name__)
LOCK_SECONDS = 10
ABOUT = "assets.extra/tapeline.json"

Pairs = set[tuple[str, int]]
"""Names of models and numbers of versions."""


def once(source: str, folder: Path) -> bool:
    """Bring a folder up to date with a store; whether anything changed.

    Raises:
        Refused: the store cannot be read, or the folder is one that models are published to.
    """
    place, mirror = places.at(source), Local(folder)
    if (folder / "log.jsonl").exists() or (isinstance(place, Local) and folder.resolve() == place.root.resolve()):
        raise refuse(folder, "is a store that models are published to", "mirror into a folder of its own")
    with files.locked(folder / ".lock", seconds=LOCK_SECONDS, what="the mirror"):
        wanted = state.load(place)
        if not wanted.tag:
            raise refuse(source, "has no models.config", f"publish a model, or: tapeline store init {source}")
        before, after = _versions(state.load(mirror).pins), _versions(wanted.pins)
        came = [_fetch(place, *version, folder) for version in sorted(after)]
        changed = _configure(folder, texts.text(wanted.pins, mirror.base).encode())
        gone = [_remove(mirror, *version) for version in sorted(_held(mirror) - before - after)]
    if changed:
        LOG.info("%s serves %s", folder, _said(wanted.pins.items()) or "nothing")
    return changed or any(came) or any(gone)


def _versions(pins: Mapping[str, int]) -> Pairs:
    return {(entry.removesuffix(CANARY), number) for entry, number in pins.items()}


def _said(versions: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} version {number}" for name, number in sorted(versions))


def _fetch(place: Place, name: str, number: int, folder: Path) -> bool:
    """Copy a version that is not there yet; one that is there has to be the same."""
    target = folder / name / str(number)
    if target.is_dir():
        try:
            same = place.read(f"{name}/{number}/{ABOUT}")[0] == (target / ABOUT).read_bytes()
        except FileNotFoundError:
            same = True
        if not same:
            fix = f"empty {folder}, and start the server again"
            raise refuse(target, f"is another model than version {number} in {place}", fix)
        return False
    with files.whole(target) as temporary:
        place.fetch(name, number, temporary)
    LOG.info("%s: copied", target)
    return True


def _configure(folder: Path, content: bytes) -> bool:
    path = folder / state.CONFIG
    if path.is_file() and path.read_bytes() == content:
        return False
    files.write_bytes(path, content)
    return True


def _held(mirror: Local) -> Pairs:
    """Versions in the mirror; folders of numbers that hold something else are left alone."""
    return {
        (name, number)
        for name in mirror.names()
        for number in mirror.numbers(name)
        if (mirror.root / name / str(number) / ABOUT).is_file()
    }


def _remove(mirror: Local, name: str, number: int) -> bool:
    mirror.remove(name, number)
    LOG.info("%s/%s/%d: removed", mirror, name, number)
    return True


def follow(source: str, folder: Path, seconds: float) -> None:
    """Do it again every so many seconds until SIGTERM or SIGINT; what fails is said in a line and tried again."""
    stop = threading.Event()

    def asked(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    before = {each: signal.signal(each, asked) for each in (signal.SIGTERM, signal.SIGINT)}
    LOG.info("following %s every %g s", source, seconds)
    try:
        while not stop.is_set():
            try:
                once(source, folder)
            except (Refused, OSError) as error:
                LOG.warning("not brought up to date: %s", " ".join(str(error).split()))
            _wait(stop, seconds)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    LOG.info("stopped")


def _wait(stop: threading.Event, seconds: float) -> None:
    """Until asked to stop; in short turns, since a signal may reach another thread first."""
    for _ in range(max(1, round(seconds / 0.2))):
        if stop.wait(min(0.2, seconds)):
            return
