"""Whether a WorkflowTemplate on the cluster is the one that was built here: its spec is compared, not a note about it.

An overlay may have changed images and the names of other objects: these fields count only where they were typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tapeline.config.overrides import Override

Object = Mapping[str, Any]

OVERLAYS = {
    "image": ("target.image", "hw.image"),
    "imagePullPolicy": ("target.pull_policy",),
    "imagePullSecrets": ("target.pull_secret",),
    "serviceAccountName": ("target.runner", "target.publisher"),
    "claimName": ("target.models_claim", "target.data_claim", "target.cache_claim"),
    "secretKeyRef.name": ("target.store_secret", "target.data_secret", "target.cache_secret"),
    "configMapKeyRef.name": ("target.semaphore",),
}
"""Fields that Kustomize changes, and the keys of the configuration that set them."""


def differences(live: Object, built: Object, typed: Sequence[Override]) -> list[str]:
    """The paths at which two specs differ, for example templates.train.container.args.

    Args:
        live: the spec on the cluster.
        built: the spec that was built here.
        typed: the overrides of the build.
    """
    keys = {each.key for each in typed}
    theirs = {field for field, names in OVERLAYS.items() if not keys & set(names)}
    return list(dict.fromkeys(_different(_plain(live, "", theirs), _plain(built, "", theirs), "")))


def _plain(value: Any, above: str, ignored: set[str]) -> Any:
    """Without empty values and ignored fields; lists of named objects as mappings."""
    if isinstance(value, Mapping):
        kept = {
            key: _plain(inner, key, ignored)
            for key, inner in value.items()
            if key not in ignored and f"{above}.{key}" not in ignored
        }
        return {key: inner for key, inner in kept.items() if inner not in (None, {}, [], "")}
    if isinstance(value, Sequence) and not isinstance(value, str):
        whole = [_plain(each, above, ignored) for each in value]
        named = all(isinstance(each, Mapping) and "name" in each for each in whole)
        return {each["name"]: each for each in whole} if named and whole else whole
    return value


def _different(live: Any, built: Any, path: str) -> Iterator[str]:
    if isinstance(live, Mapping) and isinstance(built, Mapping):
        for key in sorted({*live, *built}):
            yield from _different(live.get(key), built.get(key), f"{path}.{key}" if path else str(key))
    elif live != built:
        yield path
