"""The versions in memory: which is live, loading the next, unloading the last.

A version is loaded completely, warm-up included, before it answers, and the old one goes only
then, when its last request has ended. What cannot be loaded changes nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tapeline.serving.models_config import Wanted, changed, parse
from tapeline.serving.servers.loaded import Failure, Loaded, load

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""Between two attempts at a version that did not load, unless its entry changes."""


@dataclass(frozen=True)
class State:
    """Of a version, in TF Serving's words."""

    state: str
    """LOADING, AVAILABLE, UNLOADING or END."""
    code: int = 0
    """gRPC's; 0 is OK."""
    message: str = ""


class Versions:
    """The models of a models.config, or of one entry."""

    def __init__(self, threads: int, loader: Callable[[str, int, Path, int], Loaded] = load) -> None:
        self._threads = threads
        self._load = loader
        self._wanted: dict[str, Wanted] = {}
        self._read: bytes | None = None
        self._live: dict[str, dict[int, Loaded]] = {}
        self._states: dict[str, dict[int, State]] = {}
        self._failed: dict[tuple[str, int], float] = {}
        self._said: dict[str, str] = {}
        self._lock = threading.Lock()
        self._changing = threading.Lock()

    @contextmanager
    def borrow(self, name: str, number: int | None = None) -> Iterator[Loaded]:
        """A live version, which stays loaded for as long as it is held.

        Raises:
            Failure: it is not there.
        """
        with self._lock:
            live = self._live.get(name, {})
            loaded = live.get(max(live) if number is None and live else number or 0)
            if loaded is None:
                what = f"Latest({name})" if number is None else f"Specific({name}, {number})"
                raise Failure("NOT_FOUND", f"Servable not found for request: {what}")
            loaded.users += 1
        try:
            yield loaded
        finally:
            with self._lock:
                loaded.users -= 1
            self._close_if_idle(loaded)

    def states(self, name: str, number: int | None = None) -> dict[int, State]:
        """States of a model's versions, the latest first.

        Raises:
            Failure: there is none.
        """
        with self._lock:
            known = dict(self._states.get(name, {}))
        if number is None:
            if not known:
                raise Failure("NOT_FOUND", f"Could not find any versions of model {name}")
            return dict(sorted(known.items(), reverse=True))
        if number not in known:
            raise Failure("NOT_FOUND", f"Could not find version {number} of model {name}")
        return {number: known[number]}

    def knows(self, name: str) -> bool:
        """Whether a model of that name is served or was."""
        return name in self._states

    def live(self, name: str) -> list[int]:
        """The numbers that answer under a name."""
        return sorted(self._live.get(name, {}))

    def follow(self, path: Path) -> None:
        """Read models.config where it changed, and load what it wants; a broken one changes nothing."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            self._say(str(path), f"{path} is not there" + ("; what was live stays so" if self._wanted else " yet"))
            return
        except OSError as error:
            self._say(str(path), f"{path} cannot be read ({error.strerror}); what was live stays so")
            return
        if content != self._read:
            try:
                wanted = parse(content)
            except ValueError as error:
                self._say(str(path), f"{path} {error}; what was live stays so")
                return
            self._read = content
            self._said.pop(str(path), None)
            if wanted is not None:
                self.want(wanted)
                return
        self.refresh()

    def want(self, wanted: Mapping[str, Wanted]) -> None:
        """Serve these models from now on, and no other."""
        with self._changing:
            for name in changed(self._wanted, wanted):
                self._failed = {key: when for key, when in self._failed.items() if key[0] != name}
                self._said = {key: text for key, text in self._said.items() if key.partition(" ")[0] != name}
            gone = [name for name in self._wanted if name not in wanted]
            self._wanted = dict(wanted)
            for name in gone:
                self._retire(name, keep=())
        self.refresh()

    def refresh(self) -> None:
        """Load versions that are wanted and not yet live, then let go of those no longer wanted."""
        with self._changing:
            for entry in self._wanted.values():
                numbers = entry.numbers()
                for number in numbers:
                    self._bring(entry, number)
                if not numbers:
                    self._say(entry.name, f"{entry.base_path} has no version of {entry.name}")
                if any(number in self._live.get(entry.name, {}) for number in numbers):
                    self._retire(entry.name, keep=numbers)

    def missing(self) -> list[str]:
        """Wanted versions that are not live, and why, a sentence each."""
        sentences = []
        for entry in self._wanted.values():
            live = self._live.get(entry.name, {})
            for number in entry.numbers():
                if number not in live:
                    told = self._states.get(entry.name, {}).get(number)
                    why = told.message if told else "it is not there"
                    sentences.append(f"{entry.name} version {number} is not served: {why}")
        return sentences

    def close(self) -> None:
        """Unload everything, each version when its last request has ended."""
        self.want({})

    def _bring(self, entry: Wanted, number: int) -> None:
        name, folder = entry.name, entry.base_path / str(number)
        failed = self._failed.get((name, number))
        if number in self._live.get(name, {}) or (failed and time.monotonic() < failed + RETRY_SECONDS):
            return
        if not (folder / "saved_model.pb").is_file():
            self._say(f"{name} {number}", f"{name} version {number} is not served: {folder} holds no SavedModel")
            return
        self._set(name, number, State("LOADING"))
        begun = time.perf_counter()
        try:
            loaded = self._load(name, number, folder, self._threads)
        except ValueError as error:
            self._failed[name, number] = time.monotonic()
            self._set(name, number, State("END", 3, str(error)))
            stays = self._live.get(name)
            rest = f"; version {max(stays)} stays live" if stays else ""
            self._say(f"{name} {number}", f"{name} version {number} is not served: {error}{rest}")
            return
        self._failed.pop((name, number), None)
        self._said.pop(f"{name} {number}", None)
        with self._lock:
            self._live = {**self._live, name: {**self._live.get(name, {}), number: loaded}}
            self._states.setdefault(name, {})[number] = State("AVAILABLE")
        log.info("%s version %d is live (loaded in %.2f s)", name, number, time.perf_counter() - begun)

    def _retire(self, name: str, keep: list[int] | tuple[()]) -> None:
        with self._lock:
            live = self._live.get(name, {})
            going = [loaded for number, loaded in live.items() if number not in keep]
            left = {number: loaded for number, loaded in live.items() if number in keep}
            self._live = {other: kept for other, kept in self._live.items() if other != name}
            if left:
                self._live[name] = left
            for loaded in going:
                loaded.retired = True
                self._states[name][loaded.number] = State("UNLOADING")
        for loaded in going:
            self._close_if_idle(loaded)

    def _close_if_idle(self, loaded: Loaded) -> None:
        """Unload a retired version once nobody holds it, exactly once."""
        with self._lock:
            if not loaded.retired or loaded.users:
                return
            loaded.retired = False
            if self._live.get(loaded.name, {}).get(loaded.number) is None:
                self._states[loaded.name][loaded.number] = State("END")
        loaded.close()
        log.info("%s version %d is unloaded", loaded.name, loaded.number)

    def _set(self, name: str, number: int, state: State) -> None:
        with self._lock:
            self._states.setdefault(name, {})[number] = state

    def _say(self, about: str, sentence: str) -> None:
        """Log a sentence once, not at every poll."""
        if self._said.get(about) != sentence:
            self._said[about] = sentence
            log.warning("%s", sentence)
