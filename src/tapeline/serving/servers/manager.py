"""Load and unload the versions of the models that models.config names (in TF Serving: the servable manager).

A version is loaded completely, its warm-up included, before it is live. Only then is the previous version unloaded,
when no request uses it any more. Where a version cannot be loaded, the versions that are live stay live.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tapeline.serving.models_config import ModelConfig, changed_models, parse
from tapeline.serving.servers.loaded_model import LoadedModel, Source, find, load
from tapeline.serving.servers.request_error import RequestError

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""Between two attempts to load a version that failed, unless its entry in models.config changes."""


@dataclass(frozen=True)
class VersionStatus:
    """TF Serving's ModelVersionStatus."""

    state: str
    """LOADING, AVAILABLE, UNLOADING or END."""
    error_code: int = 0
    """gRPC's status code; 0 is OK."""
    error_message: str = ""


class Manager:
    """The models of a models.config, or of --model_base_path. Its methods may be called from any thread."""

    def __init__(self, threads: int, loader: Callable[[str, int, Path, int], LoadedModel] = load) -> None:
        self._threads = threads
        self._load = loader
        self._configs: dict[str, ModelConfig] = {}
        self._content: bytes | None = None
        self._read: dict[str, ModelConfig] | None = None
        self._live: dict[str, dict[int, LoadedModel]] = {}
        self._statuses: dict[str, dict[int, VersionStatus]] = {}
        self._failed: dict[tuple[str, int], float] = {}
        self._warnings: dict[str, str] = {}
        self._lock = threading.Lock()
        self._loading = threading.Lock()

    @contextmanager
    def acquire(self, name: str, number: int | None = None) -> Iterator[LoadedModel]:
        """A live version of a model (None: the latest); it stays loaded until the block ends.

        Raises:
            RequestError: it is not live.
        """
        with self._lock:
            loaded = find(self._live, name, number)
            loaded.requests_in_flight += 1
        try:
            yield loaded
        finally:
            with self._lock:
                loaded.requests_in_flight -= 1
            self._close_if_idle(loaded)

    def sources(self) -> dict[str, dict[int, Source]]:
        """Where the live versions came from, by name and number."""
        with self._lock:
            live = {name: dict(numbers) for name, numbers in self._live.items()}
        return {
            name: {number: loaded.source for number, loaded in numbers.items() if loaded.source}
            for name, numbers in live.items()
        }

    def statuses(self, name: str, number: int | None = None) -> dict[int, VersionStatus]:
        """The status of one version of a model, or of all its versions, the latest first.

        Raises:
            RequestError: the model or version is not known.
        """
        with self._lock:
            known = dict(self._statuses.get(name, {}))
        if number is None:
            if not known:
                raise RequestError("NOT_FOUND", f"Could not find any versions of model {name}")
            return dict(sorted(known.items(), reverse=True))
        if number not in known:
            raise RequestError("NOT_FOUND", f"Could not find version {number} of model {name}")
        return {number: known[number]}

    def knows(self, name: str) -> bool:
        """Whether a model with this name is or was served."""
        return name in self._statuses

    def live(self, name: str) -> list[int]:
        """The numbers of a model's live versions, ascending."""
        return sorted(self._live.get(name, {}))

    def poll_config(self, path: Path) -> None:
        """Read models.config and load what it names; where it is missing or not valid, all live versions stay live.

        As in TF Serving, the file counts again at each poll: it replaces what a HandleReloadConfigRequest set.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            problem = f"{path} does not exist" + ("; the live versions stay live" if self._configs else " yet")
            self._warn_once(str(path), problem)
            return
        except OSError as error:
            self._warn_once(str(path), f"{path} cannot be read ({error.strerror}); the live versions stay live")
            return
        if content != self._content:
            try:
                configs = parse(content)
            except ValueError as error:
                self._warn_once(str(path), f"{path} {error}; the live versions stay live")
                return
            self._content, self._read = content, configs
            self._warnings.pop(str(path), None)
        if self._read is not None and self._read != self._configs:
            self.serve(self._read)
        else:
            self.refresh()

    def serve(self, configs: Mapping[str, ModelConfig]) -> None:
        """Serve these models from now on, and no others."""
        with self._loading:
            for name in changed_models(self._configs, configs):
                self._failed = {key: when for key, when in self._failed.items() if key[0] != name}
                self._warnings = {key: text for key, text in self._warnings.items() if key.partition(" ")[0] != name}
            removed = [name for name in self._configs if name not in configs]
            self._configs = dict(configs)
            for name in removed:
                self._unload(name, keep=())
        self.refresh()

    def refresh(self) -> None:
        """Load the versions to serve that are not live yet, then unload the others."""
        with self._loading:
            for config in self._configs.values():
                numbers = config.versions()
                for number in numbers:
                    self._load_version(config, number)
                if not numbers:
                    self._warn_once(config.name, f"{config.base_path} has no version of {config.name}")
                if any(number in self._live.get(config.name, {}) for number in numbers):
                    self._unload(config.name, keep=numbers)

    def not_live(self) -> list[str]:
        """A sentence for each version to serve that is not live, with the reason."""
        sentences = []
        for config in self._configs.values():
            live = self._live.get(config.name, {})
            for number in config.versions():
                if number not in live:
                    status = self._statuses.get(config.name, {}).get(number)
                    reason = status.error_message if status else "it does not exist"
                    sentences.append(f"{config.name} version {number} is not served: {reason}")
        return sentences

    def close(self) -> None:
        """Unload everything, each version when no request uses it any more."""
        self.serve({})

    def _load_version(self, config: ModelConfig, number: int) -> None:
        name, folder = config.name, config.base_path / str(number)
        failed = self._failed.get((name, number))
        if number in self._live.get(name, {}) or (failed and time.monotonic() < failed + RETRY_SECONDS):
            return
        if not (folder / "saved_model.pb").is_file():
            moved = "" if folder.is_dir() else "; where the store lies elsewhere, write: tapeline store base_path=PATH"
            problem = f"{name} version {number} is not served: {folder} has no saved_model.pb{moved}"
            self._warn_once(f"{name} {number}", problem)
            return
        self._set_status(name, number, VersionStatus("LOADING"))
        start = time.perf_counter()
        try:
            loaded = self._load(name, number, folder, self._threads)
        except ValueError as error:
            self._failed[name, number] = time.monotonic()
            self._set_status(name, number, VersionStatus("END", 3, str(error)))
            live = self._live.get(name)
            rest = f"; version {max(live)} stays live" if live else ""
            self._warn_once(f"{name} {number}", f"{name} version {number} is not served: {error}{rest}")
            return
        self._failed.pop((name, number), None)
        self._warnings.pop(f"{name} {number}", None)
        with self._lock:
            self._live = {**self._live, name: {**self._live.get(name, {}), number: loaded}}
            self._statuses.setdefault(name, {})[number] = VersionStatus("AVAILABLE")
        log.info("%s version %d is live (loaded in %.2f s)", name, number, time.perf_counter() - start)

    def _unload(self, name: str, keep: Sequence[int]) -> None:
        with self._lock:
            live = self._live.get(name, {})
            unloading = [loaded for number, loaded in live.items() if number not in keep]
            kept = {number: loaded for number, loaded in live.items() if number in keep}
            self._live = {other: versions for other, versions in self._live.items() if other != name}
            if kept:
                self._live[name] = kept
            for loaded in unloading:
                loaded.unloading = True
                self._statuses[name][loaded.number] = VersionStatus("UNLOADING")
        for loaded in unloading:
            self._close_if_idle(loaded)

    def _close_if_idle(self, loaded: LoadedModel) -> None:
        """Close a version that is to be unloaded when no request uses it, exactly once."""
        with self._lock:
            if not loaded.unloading or loaded.requests_in_flight:
                return
            loaded.unloading = False
            if self._live.get(loaded.name, {}).get(loaded.number) is None:
                self._statuses[loaded.name][loaded.number] = VersionStatus("END")
        loaded.close()
        log.info("%s version %d is unloaded", loaded.name, loaded.number)

    def _set_status(self, name: str, number: int, status: VersionStatus) -> None:
        with self._lock:
            self._statuses.setdefault(name, {})[number] = status

    def _warn_once(self, subject: str, sentence: str) -> None:
        """Log a warning when it is new for its subject, not at every poll."""
        if self._warnings.get(subject) != sentence:
            self._warnings[subject] = sentence
            log.warning("%s", sentence)
