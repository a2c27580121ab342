"""What people do with versions; each is one write of models.config, and says what is served now.

tapeline canary run=latest      tapeline promote      tapeline rollback why="..."      tapeline versions
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tapeline.config.schema import Serving
from tapeline.errors import refuse
from tapeline.serving import saved_model as servable
from tapeline.serving.store import versions as store
from tapeline.serving.store.backend import retried
from tapeline.serving.store.state import CANARY
from tapeline.serving.store.versions import Change, Store, Version
from tapeline.tasks import value


def number(text: str | None) -> int | None:
    """The number that an option version=N gives; None without it.

    Raises:
        Refused: it is no number that a version can have.
    """
    if text is None:
        return None
    if not text.isdecimal() or int(text) >= 2**63:
        raise refuse(f"version={text}", "is no number of a version", "write one as tapeline versions prints it")
    return int(text)


@retried
def publish(model: Path, metrics: Path, root: Path | str, serving: Serving, why: str = "") -> tuple[Version, bool]:
    """Make a servable the live version under `serving.name`; a canary stays beside it.

    Returns:
        The version, and whether anything was written: not where the same model_version is live.

    Raises:
        RolledBack: the model was taken back before.
        Refused: the lock stays with another, or the copy does not load.
    """
    wanted = servable.about(model)["model_version"]
    # no lock for what writes nothing: the store may be read-only here
    if (live := store.read(root, serving.name).live()) and live.model_version == wanted:
        return live, False
    with store.held(root, serving.name, serving.lock_seconds) as held:
        live = held.live()
        if live and live.model_version == wanted:
            return live, False
        version = held.add(model, metrics)
        held.pin(Change("publish", why), live=version, canary=held.canary())
        held.forget(serving.keep)
    return version, True


@retried
def canary(model: Path | int, metrics: Path | None, root: Path | str, serving: Serving, why: str = "") -> str:
    """Serve a model, or a version by number, as `<name>-canary`, beside the live one.

    Raises:
        Refused: nothing is live under the name, or it is this very model.
    """
    with store.held(root, serving.name, serving.lock_seconds) as held:
        live = held.live()
        if not live:
            raise refuse(serving.name, "nothing is live, so there is nothing to stand beside", "publish a model first")
        version = held.version(model) if isinstance(model, int) else held.add(model, metrics or model)
        if version == live:
            raise refuse(str(version), "is live already", "choose another run or version")
        held.pin(Change("canary", why), canary=version)
        return _served(held)


@retried
def promote(number: int | None, root: Path | str, serving: Serving, why: str = "") -> str:
    """Make the canary, or a version by number, the live one; the canary's entry goes.

    Raises:
        Refused: there is no canary and no number was given.
    """
    with store.held(root, serving.name, serving.lock_seconds) as held:
        version = held.version(number) if number is not None else held.canary()
        if not version:
            raise refuse(serving.name, "has no canary to promote", "name a version=N; tapeline versions lists them")
        held.pin(Change("promote", why), live=version)
        return _served(held)


@retried
def rollback(root: Path | str, serving: Serving, why: str = "") -> str:
    """Make the version live again that was live before; publish refuses the one that is left.

    Raises:
        Refused: nothing was live before.
    """
    with store.held(root, serving.name, serving.lock_seconds) as held:
        live, before = held.live(), _before(held)
        if not live or not before:
            known = held.root.names()
            other = f"this store has {', '.join(known)}: serving.name=..." if known and not live else "publish another"
            raise refuse(serving.name, "nothing was live before", other)
        held.pin(Change("rollback", why), live=before, canary=held.canary())
        return f"{_served(held)}; {live} is not published again unless promoted"


def _before(held: Store) -> Version | None:
    """The number under the live one, in the pile of numbers that the log makes."""
    live = held.live()
    pile: list[int] = []
    for line in held.history():
        if line["verb"] == "rollback":
            pile = [number for number in pile if number != line["before"]]
        elif line["verb"] != "canary":
            pile = [*(number for number in pile if number != line["number"]), line["number"]]
    there = {each.number for each in held.versions()} - {live.number if live else 0}
    numbers = [number for number in pile if number in there]
    return held.version(numbers[-1]) if numbers else None


def _served(held: Store) -> str:
    live, beside = held.live(), held.canary()
    return f"served now: {live}" + (f", and {beside.number} ({beside.model_version}) as {held.name}{CANARY}"
                                    if beside else "")  # fmt: skip


def table(root: Path | str, name: str) -> Iterator[Mapping[str, Any]]:
    """What there is to know about each version of a name.

    Raises:
        Refused: the store has no such name.
    """
    held = store.read(root, name)
    known = held.versions()
    if not known:
        others = ", ".join(held.root.names())
        fix = f"set serving.name to one of: {others}" if others else "publish a model first, or set serving.store"
        raise refuse(f"serving.name={name}", f"{root} has no version of it", fix)
    live, beside, marks = held.live(), held.canary(), held.taken_back()
    for version in known:
        told, metrics = held.about(version.number), held.metrics(version.number)
        state = "live" if version == live else "canary" if version == beside else ""
        yield {
            "number": version.number,
            "state": state or ("rolled back" if version.number in marks else ""),
            "model_version": version.model_version,
            "data": told["data"][:12],
            "as of": metrics.get("data", {}).get("as_of"),
            **_score(metrics),
            "decision": "accepted" if metrics.get("gate", {}).get("accepted") else "rejected",
            "features": len(told["features"]),
            "names": list(told["features"]),
        }


def _score(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The gate's metric and the score of the test rows, of a metrics.json of any schema."""
    name = metrics.get("config", {}).get("gate", {}).get("metric")
    test = metrics.get("test", {})
    return {"metric": name, "score": value(test.get("overall", test), str(name))}
