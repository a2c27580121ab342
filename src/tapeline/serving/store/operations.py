"""Publish, canary, promote and roll back a model; each is one write of models.config.

tapeline canary run=latest      tapeline promote      tapeline rollback why="..."      tapeline versions
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tapeline.config.schema import Serving
from tapeline.errors import refuse
from tapeline.serving import saved_model
from tapeline.serving.models_config import version_number
from tapeline.serving.store import versions
from tapeline.serving.store.backend import retry_on_conflict
from tapeline.serving.store.state import CANARY
from tapeline.serving.store.versions import Change, Store, Version, after_the_change
from tapeline.tasks import value

RECORDS = 5000
"""Lines of the log, from its end, that `versions` reads."""


def number(text: str | None) -> int | None:
    """The version number of an option version=N; None without it, or where it is empty.

    Raises:
        Refused: it is not a version number.
    """
    if not text:
        return None
    if (found := version_number(text)) is None:
        fix = "write one that tapeline versions lists, for example version=3"
        raise refuse(f"version={text}", "is not a version number", fix)
    return found


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
        with after_the_change(f"{root}/{serving.name}", "still has old versions; the next publish removes them"):
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
        if (version := store.checked(version)).problem:
            raise refuse(str(version), "the canary cannot be served", "name a version=N that tapeline versions lists")
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
            raise refuse(serving.name, "no other version was live before", _instead(store, live))
        store.pin(Change("rollback", why), live=previous, canary=store.canary())
        not_again = "" if live.problem else f"; {live} is not published again unless it is promoted"
        return _served(store) + not_again


def _previous(store: Store) -> Version | None:
    """The version that was live before the live one; those rolled back, missing or damaged are passed over."""
    live = store.live()
    usable = {each.number: each for each in store.versions() if not each.problem}
    for number in store.fates().order:
        if number in usable and not (live and live.number == number):
            version = store.checked(usable[number])
            if not version.problem:
                return version
    return None


def _instead(store: Store, live: Version | None) -> str:
    """What to do where no version was live before."""
    usable = [each.number for each in store.versions() if not each.problem and each != live]
    models = store.backend.models()
    if models and not live and store.name not in models:
        return f"set serving.name to one of: {', '.join(models)}"
    if usable and (not live or live.problem):
        return f"make another version live, for example: tapeline promote version={usable[-1]}"
    return "publish another model: tapeline publish run=latest"


def _served(store: Store) -> str:
    live, beside = store.live(), store.canary()
    sentence = f"served now: {live}" if live and not live.problem else f"not served: {live}"
    if beside:
        sentence += f", and {beside.number} ({beside.problem or beside.model_version}) as {store.name}{CANARY}"
    return sentence


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
    history = list(reversed(list(islice(store.history(), RECORDS))))
    rolled_back = store.fates().rolled_back
    pins = {store.state.pins.get(name): "live", store.state.pins.get(f"{name}{CANARY}"): "canary"}
    for version in known:
        metadata = {} if version.problem else store.metadata(version.number)
        metrics = {} if version.problem else store.metrics(version.number)
        state = pins.get(version.number) or ("rolled back" if version.number in rolled_back else "")
        features = metadata.get("features", [])
        added = [line for line in history if line["number"] == version.number]
        yield {
            "number": version.number,
            "published": str(added[0].get("time", "")) if added else "",
            "since": _live_since(history, version.number),
            "state": ", ".join(filter(None, [state, version.problem])),
            "model_version": version.model_version,
            "data": str(metadata.get("data", ""))[:12],
            "as of": _part(metrics, "data").get("as_of"),
            **_score(metrics),
            "decision": _decision(_part(metrics, "gate").get("accepted")),
            "features": len(features),
            "names": list(features),
        }


def _decision(accepted: object) -> str | None:
    return {"True": "accepted", "False": "rejected"}.get(str(accepted))


def _part(metrics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a metrics.json; {} where it has none, or another type of it."""
    found = metrics.get(name)
    return found if isinstance(found, dict) else {}


def _live_since(history: Sequence[Mapping[str, Any]], number: int) -> str:
    """When the version became live the last time; empty where it never was."""
    since, live = "", None
    for line in history:
        if line["verb"] == "canary":
            continue
        if line["number"] == number and live != number:
            since = str(line.get("time", ""))
        live = line["number"]
    return since


def _score(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The gate's metric and its score on the test rows, from a metrics.json of either schema."""
    name = _part(_part(metrics, "config"), "gate").get("metric")
    test = _part(metrics, "test")
    return {"metric": name, "score": value(_part(test, "overall") or test, str(name))}
