"""Publish, canary, promote and roll back a model; each is one write of models.config.

tapeline canary run=latest      tapeline promote      tapeline rollback why="..."      tapeline versions
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tapeline.config.schema import Serving
from tapeline.errors import refuse
from tapeline.serving import saved_model
from tapeline.serving.store import versions
from tapeline.serving.store.backend import retry_on_conflict
from tapeline.serving.store.state import CANARY
from tapeline.serving.store.versions import Change, Store, Version
from tapeline.tasks import value


def number(text: str | None) -> int | None:
    """The version number of an option version=N; None without it.

    Raises:
        Refused: it is not a version number.
    """
    if text is None:
        return None
    if not text.isdecimal() or int(text) >= 2**63:
        fix = "write one that tapeline versions lists, for example version=3"
        raise refuse(f"version={text}", "is not a version number", fix)
    return int(text)


@retry_on_conflict
def publish(model: Path, metrics: Path, root: Path | str, serving: Serving, why: str = "") -> tuple[Version, bool]:
    """Make a servable the live version of the model `serving.name`; its canary stays.

    Args:
        model: the servable.
        metrics: its metrics.json, which is stored with it.
        root: the location of the store.
        serving: the section `serving` of the configuration.
        why: the reason, for the log.

    Returns:
        The version, and whether anything was written: not where this model_version is live already.

    Raises:
        RolledBack: this model was rolled back.
        Refused: the lock is not free, or the copy does not load.
    """
    model_version = saved_model.read_metadata(model)["model_version"]
    # read without the lock first: where nothing has to be written, the store may be read-only
    if (live := versions.read(root, serving.name).live()) and live.model_version == model_version:
        return live, False
    with versions.transaction(root, serving.name, serving.lock_seconds) as store:
        live = store.live()
        if live and live.model_version == model_version:
            return live, False
        version = store.add(model, metrics)
        store.pin(Change("publish", why), live=version, canary=store.canary())
        store.remove_old(serving.keep)
    return version, True


@retry_on_conflict
def canary(model: Path | int, metrics: Path | None, root: Path | str, serving: Serving, why: str = "") -> str:
    """Serve a servable, or a version by its number, as `<name>-canary` beside the live version.

    Returns:
        A sentence that says what is served.

    Raises:
        Refused: no version is live, or this version is the live one.
    """
    with versions.transaction(root, serving.name, serving.lock_seconds) as store:
        live = store.live()
        if not live:
            problem = "no version is live, and a canary is served beside a live version"
            raise refuse(serving.name, problem, "publish a model first: tapeline publish run=latest")
        version = store.version(model) if isinstance(model, int) else store.add(model, metrics or model)
        if version == live:
            raise refuse(str(version), "is live already", "choose another run or version, for example version=2")
        store.pin(Change("canary", why), canary=version)
        return _served(store)


@retry_on_conflict
def promote(number: int | None, root: Path | str, serving: Serving, why: str = "") -> str:
    """Make the canary, or a version by its number, the live version; afterwards there is no canary.

    Returns:
        A sentence that says what is served.

    Raises:
        Refused: there is no canary and no number was given.
    """
    with versions.transaction(root, serving.name, serving.lock_seconds) as store:
        version = store.version(number) if number is not None else store.canary()
        if not version:
            raise refuse(serving.name, "has no canary to promote", "name a version=N that tapeline versions lists")
        store.pin(Change("promote", why), live=version)
        return _served(store)


@retry_on_conflict
def rollback(root: Path | str, serving: Serving, why: str = "") -> str:
    """Make the version live that was live before; publish refuses the one that is rolled back.

    Returns:
        A sentence that says what is served.

    Raises:
        Refused: no other version was live before.
    """
    with versions.transaction(root, serving.name, serving.lock_seconds) as store:
        live, previous = store.live(), _previous(store)
        if not live or not previous:
            models = store.backend.models()
            fix = "publish another model: tapeline publish run=latest"
            if models and not live:
                fix = f"set serving.name to one of: {', '.join(models)}"
            raise refuse(serving.name, "no other version was live before", fix)
        store.pin(Change("rollback", why), live=previous, canary=store.canary())
        return f"{_served(store)}; {live} is not published again unless it is promoted"


def _previous(store: Store) -> Version | None:
    """The version that was live before the live one; a version that was rolled back is passed over."""
    live = store.live()
    stack: list[int] = []
    for line in store.history():
        if line["verb"] == "rollback":
            stack = [number for number in stack if number != line["before"]]
        elif line["verb"] != "canary":
            stack = [*(number for number in stack if number != line["number"]), line["number"]]
    existing = {each.number for each in store.versions()} - {live.number if live else 0}
    candidates = [number for number in stack if number in existing]
    return store.version(candidates[-1]) if candidates else None


def _served(store: Store) -> str:
    live, beside = store.live(), store.canary()
    canary = f", and {beside.number} ({beside.model_version}) as {store.name}{CANARY}" if beside else ""
    return f"served now: {live}{canary}"


def table(root: Path | str, name: str) -> Iterator[Mapping[str, Any]]:
    """The rows of `tapeline versions`: one per version of a model, with its state, metadata and metrics.

    Raises:
        Refused: the store has no version of the model.
    """
    store = versions.read(root, name)
    known = store.versions()
    if not known:
        models = ", ".join(store.backend.models())
        fix = f"set serving.name to one of: {models}" if models else "publish a model first, or set serving.store"
        raise refuse(f"serving.name={name}", f"{root} has no version of this model", fix)
    live, beside, rolled_back = store.live(), store.canary(), store.rolled_back()
    history = store.history()
    for version in known:
        metadata, metrics = store.metadata(version.number), store.metrics(version.number)
        state = "live" if version == live else "canary" if version == beside else ""
        added = [line for line in history if line["number"] == version.number]
        yield {
            "number": version.number,
            "published": str(added[0]["time"]) if added else "",
            "since": _live_since(history, version.number),
            "state": state or ("rolled back" if version.number in rolled_back else ""),
            "model_version": version.model_version,
            "data": metadata["data"][:12],
            "as of": metrics.get("data", {}).get("as_of"),
            **_score(metrics),
            "decision": "accepted" if metrics.get("gate", {}).get("accepted") else "rejected",
            "features": len(metadata["features"]),
            "names": list(metadata["features"]),
        }


def _live_since(history: Sequence[Mapping[str, Any]], number: int) -> str:
    """When the version became live the last time; empty where it never was."""
    since, live = "", None
    for line in history:
        if line["verb"] == "canary":
            continue
        if line["number"] == number and live != number:
            since = str(line["time"])
        live = line["number"]
    return since


def _score(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The gate's metric and its score on the test rows, from a metrics.json of either schema."""
    name = metrics.get("config", {}).get("gate", {}).get("metric")
    test = metrics.get("test", {})
    return {"metric": name, "score": value(test.get("overall", test), str(name))}
