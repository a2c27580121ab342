"""Secrets of the pods: which step gets which keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tapeline.clusters.mounts import MODELS, store_of, under
from tapeline.config.schema import Cluster, Config
from tapeline.errors import Finding
from tapeline.lookup import source
from tapeline.objects import S3_KEYS
from tapeline.pipeline.shared_cache import PREFIX


@dataclass(frozen=True)
class Secret:
    """Keys of a Secret that become environment variables of the same names, behind a prefix; all are optional."""

    name: str
    keys: tuple[str, ...]
    prefix: str = ""

    @property
    def variables(self) -> set[str]:
        """Names of the environment variables."""
        return {f"{self.prefix}{key}" for key in self.keys}


def secrets(
    config: Config, target: Cluster, *, fetches: bool, store: set[str], searches: bool, cached: bool
) -> Iterable[Secret]:
    """The Secrets of a task; store and data may share one.

    Args:
        config: the whole configuration.
        target: names the Secrets.
        fetches: whether a step of the task reads data from outside.
        store: "read" and "write", as far as its steps do that in the store.
        searches: whether a step of the task reads or writes a study.
        cached: whether a step of the task uses the shared cache.
    """
    keys: dict[str, tuple[str, ...]] = {}
    where = store_of(config)
    of_store = target.store_secret if "write" in store else target.store_read_secret or target.store_secret
    if store and of_store and (where.startswith("${") or not under(MODELS, where)):
        keys[of_store] = S3_KEYS
    if fetches and target.data_secret:
        password = getattr(config.dataset, "password_env", None)
        credentials = getattr(source(config.dataset), "KEYS", ())
        keys[target.data_secret] = (*S3_KEYS, *([password] if password else []), *credentials)
    if searches and target.data_secret and config.tune and config.tune.password_env:
        keys[target.data_secret] = (*keys.get(target.data_secret, ()), config.tune.password_env)
    yield from (Secret(name, variables) for name, variables in keys.items())
    if cached and target.cache_secret:
        yield Secret(target.cache_secret, S3_KEYS, PREFIX)


def conflicts(task: str, these: Iterable[Secret], config: Config) -> Iterator[Finding]:
    """A variable of a pod can come from one Secret only."""
    sources: dict[str, list[str]] = {}
    for each in these:
        for variable in each.variables:
            sources.setdefault(variable, []).append(each.name)
    for names in sorted({tuple(names) for names in sources.values() if len(names) > 1}):
        shared = min(variable for variable, each in sources.items() if tuple(each) == names)
        problem = f"the pod {task} needs Secrets {' and '.join(names)}, which have the same keys, as {shared}"
        fix = f"use one Secret for both, as in target.data_secret={names[0]}"
        if hasattr(config.target, "granularity"):
            fix = f"set target.granularity=step, or {fix}"
        yield Finding(f"target={config.target.name}", problem, fix)
