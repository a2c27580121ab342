"""The store itself: tapeline store init [PLACE]        tapeline store sync URL DIR follow=true seconds=10"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tapeline.console import logged
from tapeline.errors import refuse
from tapeline.lookup import configure as compose
from tapeline.serving.store import state, sync

SECONDS = 10
"""To wait for a lock, and between two looks at a store."""


def run(words: Sequence[str], overrides: Sequence[str], own: Mapping[str, str]) -> None:
    """Do what the words say.

    Raises:
        Refused: they say nothing, or as what they name.
    """
    if words[:1] == ["init"] and len(words) <= 2:
        if own:
            raise refuse(next(iter(own)), "is no key of store init", "leave it out")
        _init(words[1:], overrides)
    elif words[:1] == ["sync"] and len(words) == 3:
        if overrides:
            raise refuse(overrides[0], "is no key of store sync", "it has follow=true and seconds=10")
        _sync(words[1], Path(words[2]), own)
    else:
        said = " ".join(["store", *words])
        raise refuse(said, "says not what to do", "write store init [PLACE], or store sync URL DIR")


def _init(places: Sequence[str], overrides: Sequence[str]) -> None:
    if places and overrides:
        raise refuse(overrides[0], "has no effect on a store that is named", "leave it out")
    serving = None if places else compose(overrides).serving
    place = serving.store if serving else places[0]
    made = state.init(place, serving.lock_seconds if serving else SECONDS)
    print(f"{place}: " + ("made, with nothing served yet" if made else "is a store already; nothing was written"))


def _sync(url: str, folder: Path, own: Mapping[str, str]) -> None:
    given = own.get("seconds", str(SECONDS))
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0
    if not 0.1 <= seconds <= 86400:
        raise refuse(f"seconds={given}", "is no number of seconds, from 0.1 to a day", "write seconds=10")
    with logged():
        if own.get("follow") == "true":
            sync.follow(url, folder, seconds)
        elif not sync.once(url, folder):
            print(f"{folder} is up to date")
