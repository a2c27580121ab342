"""What this machine's store says of the models that are live."""

from __future__ import annotations

from pathlib import Path

from tapeline.commands.predict.rows import Served, of_signatures
from tapeline.config.schema import Serving
from tapeline.errors import Refused, refuse
from tapeline.serving import saved_model as servable
from tapeline.serving.client import NotFound
from tapeline.serving.store.state import CANARY
from tapeline.serving.store.versions import read


def served(serving: Serving, number: int | None) -> Served | None:
    """What a version (None: the live one) takes; None where its store is not on this machine."""
    store = Path(serving.store)
    if number is None:
        version = read(store, serving.name).live() if "://" not in serving.store else None
        number = version.number if version else 0
    try:
        metadata = servable.read_metadata(store / serving.name / str(number))
        raw = tuple(of_signatures(metadata.get("signatures", {})))
        return Served(tuple(metadata["features"]), raw)
    except (OSError, ValueError, KeyError):
        return None


def names(serving: Serving) -> list[str]:
    """All models that are live, canaries left out; none where the store cannot be read."""
    if "://" in serving.store:
        return []
    try:
        return sorted(name for name in read(Path(serving.store), serving.name).state.pins if not name.endswith(CANARY))
    except (OSError, Refused):
        return []


def others(serving: Serving) -> list[str]:
    """Models that are live beside serving.name."""
    return [name for name in names(serving) if name != serving.name]


def named(error: NotFound, serving: Serving) -> Refused:
    """The refusal of a model that is not served, with the names of those that are."""
    known = others(serving)
    if not known or serving.name in names(serving):
        return error
    return refuse(
        f"serving.name={serving.name}",
        f"is not served; live are: {', '.join(known)}",
        f"choose one, for example serving.name={known[0]}",
    )
