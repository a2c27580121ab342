"""Mirror what a store serves to a local folder, since TF Serving does not read object storage.

    tapeline store sync s3://bucket/prefix /models follow=true

It runs beside the server, in a container without TensorFlow. Versions are copied first, each atomically, then
models.config is replaced. A version that models.config no longer names is removed one round later, so that the server
has unloaded it.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tapeline import files
from tapeline.errors import Refused, refuse
from tapeline.serving.store import pins as pinned
from tapeline.serving.store import state
from tapeline.serving.store.backend import Backend
from tapeline.serving.store.folder import FolderBackend
from tapeline.serving.store.location import backend as backend_at
from tapeline.serving.store.pins import CANARY

log = logging.getLogger(__name__)
LOCK_SECONDS = 10
METADATA = "assets.extra/tapeline.json"

ModelVersion = tuple[str, int]
"""A model's name and a version number."""


def once(source: str, folder: Path) -> bool:
    """Copy what the store at `source` serves to `folder`; returns whether anything changed.

    Raises:
        Refused: the store cannot be read, or the folder is itself a store that models are published to.
    """
    store, mirror = backend_at(source), FolderBackend(folder)
    same = isinstance(store, FolderBackend) and folder.resolve() == store.root.resolve()
    if (folder / "log.jsonl").exists() or same:
        problem, fix = "is a store that models are published to", "choose another folder, for example /models"
        raise refuse(folder, problem, fix)
    with files.locked(folder / ".lock", seconds=LOCK_SECONDS, what="the mirror"):
        current = state.load(store)
        if not current.etag:
            raise refuse(source, "has no models.config", f"publish a model, or: tapeline store init {source}")
        mirrored = state.load(mirror)
        before, after = _versions(mirrored.pins), _versions(current.pins)
        copied = [_copy(store, *version, folder) for version in sorted(after)]
        base = mirrored.base if mirrored.base and _is_same(Path(mirrored.base), folder) else mirror.base
        changed = _write_config(folder, pinned.to_text(current.pins, base).encode())
        removed = [_remove(mirror, *version) for version in sorted(_mirrored(mirror) - before - after)]
    if changed:
        log.info("%s serves %s", folder, _listed(current.pins.items()) or "nothing")
    return changed or any(copied) or any(removed)


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same folder."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _versions(pins: Mapping[str, int]) -> set[ModelVersion]:
    return {(entry.removesuffix(CANARY), number) for entry, number in pins.items()}


def _listed(versions: Iterable[ModelVersion]) -> str:
    return ", ".join(f"{name} version {number}" for name, number in sorted(versions))


def _copy(store: Backend, name: str, number: int, folder: Path) -> bool:
    """Copy a version that the mirror does not have; one that it has must be the same model."""
    target = folder / name / str(number)
    if target.is_dir():
        try:
            same = store.read(f"{name}/{number}/{METADATA}")[0] == (target / METADATA).read_bytes()
        except FileNotFoundError:
            same = True
        if not same:
            problem = f"is another model than version {number} in {store}"
            raise refuse(target, problem, f"empty {folder}, and restart the server")
        return False
    with files.atomic_path(target) as temporary:
        store.download(name, number, temporary)
    log.info("%s: copied", target)
    return True


def _write_config(folder: Path, content: bytes) -> bool:
    path = folder / state.CONFIG
    if path.is_file() and path.read_bytes() == content:
        return False
    files.write_bytes(path, content)
    return True


def _mirrored(mirror: FolderBackend) -> set[ModelVersion]:
    """The versions in the mirror; folders that are not servables of tapeline are left alone."""
    return {
        (name, number)
        for name in mirror.models()
        for number in mirror.versions(name)
        if (mirror.root / name / str(number) / METADATA).is_file()
    }


def _remove(mirror: FolderBackend, name: str, number: int) -> bool:
    mirror.remove(name, number)
    log.info("%s/%s/%d: removed", mirror, name, number)
    return True


def wait(source: str, seconds: float) -> None:
    """Look every `seconds` until the store serves a model, or until SIGTERM or SIGINT; what is wrong is logged once."""
    said = ""
    with _stopped_by_signal() as stop:
        while not stop.is_set():
            try:
                pins = state.load(backend_at(source)).pins
                if pins:
                    log.info("%s serves %s", source, _listed(pins.items()))
                    return
                problem = "waiting for the first model; publish one, for example: make submit target=argo"
            except (Refused, OSError) as error:
                problem = " ".join(str(error).split())
            if problem != said:
                said = problem
                log.info("%s: %s", source, problem)
            _pause(stop, seconds)


def follow(source: str, folder: Path, seconds: float) -> None:
    """Call `once` every `seconds` until SIGTERM or SIGINT; an error is logged in one line, and does not end it."""
    log.info("following %s every %g s", source, seconds)
    with _stopped_by_signal() as stop:
        while not stop.is_set():
            try:
                once(source, folder)
            except (Refused, OSError) as error:
                log.warning("not synchronized: %s", " ".join(str(error).split()))
            _pause(stop, seconds)
    log.info("stopped")


@contextmanager
def _stopped_by_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    previous = {each: signal.signal(each, on_signal) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def _pause(stop: threading.Event, seconds: float) -> None:
    """Wait `seconds`, or until `stop`; in short waits, since the signal may be delivered to another thread."""
    for _ in range(max(1, round(seconds / 0.2))):
        if stop.wait(min(0.2, seconds)):
            return
