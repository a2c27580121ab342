"""Volume claims of the pods: which step mounts which one, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tapeline.config import compose as conf
from tapeline.config.schema import Cluster, Config

MODELS, DATA = "/models", "/data"
"""Mount paths of the volume claims, the same in every pod."""


@dataclass(frozen=True)
class Mount:
    """A volume claim mounted in a pod."""

    claim: str
    path: str
    read_only: bool


def mounts(config: Config, target: Cluster, *, fetches: bool, store: set[str]) -> Iterable[Mount]:
    """The claims of a task.

    Args:
        config: the whole configuration.
        target: names the claims.
        fetches: whether a step of the task reads data from outside.
        store: "read" and "write", as far as its steps do that in the store.
    """
    if store and under(MODELS, store_of(config)):
        yield Mount(target.models_claim, MODELS, read_only="write" not in store)
    keys = conf.flat(conf.plain(config)["dataset"], "dataset")
    if fetches and any(on_data(key, value) for key, value in keys.items()):
        yield Mount(target.data_claim, DATA, read_only=True)


def store_of(config: Config) -> str:
    """The location of the store, or the text of its interpolation."""
    return str(conf.plain(config)["serving"]["store"])


def on_data(key: str, value: object) -> bool:
    """Whether a key of the dataset names a file on the claim for data; a path that only the pod knows counts as one."""
    if not key.startswith("dataset.") or not isinstance(value, str):
        return False
    return under(DATA, file_of(value)) and (is_file_url(value) or not key.endswith(".url"))


def is_file_url(value: object) -> bool:
    """Whether it is a URL of a file."""
    return isinstance(value, str) and value.startswith(("sqlite:", "duckdb:", "file:"))


def file_of(value: str) -> str:
    """The path in the URL of a file, or the value; sqlite:////data/x.db has four slashes."""
    return value.partition("://")[2].removeprefix("/") if is_file_url(value) else value


def under(folder: str, path: str) -> bool:
    """Whether a path is in the folder; true if only the pod's environment has its value."""
    return path == folder or path.startswith((f"{folder}/", "${"))
