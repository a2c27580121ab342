"""Finished steps in the cache, `target.cache`: tapeline cache        tapeline cache keep=20GB older=30d yes=true"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tapeline.commands import Option
from tapeline.errors import refuse

if TYPE_CHECKING:
    from tapeline.pipeline.cache import Kept
    from tapeline.pipeline.shared_cache import Shared

GROUP = "maintenance"
HELP = "list finished steps in the cache, or remove the oldest ones that no run names"
OPTIONS = (
    Option("keep", "SIZE", "remove the oldest until the cache is not larger than this, for example keep=20GB"),
    Option(
        "older", "AGE", "remove those last used longer ago, for example older=30d; of a shared cache, made longer ago"
    ),
    Option("yes", "true|false", "really remove; without it keep and older only print what they would do", "false"),
)
READS = ("target.cache", "target.cache_trust", "target.name", "target.runs")
EXAMPLES = (
    ("tapeline cache", "lists each entry with its step, size, age, and whether a run names it"),
    ("tapeline cache keep=20GB", "prints what would be removed to come down to 20 GB"),
    ("tapeline cache keep=20GB yes=true", "removes it"),
    ("tapeline cache target.cache=s3://cache/prices older=30d yes=true", "removes what a shared cache has for 30 days"),
)
UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
LOCK_SECONDS = 10
AGES = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
SECONDS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def run(overrides: list[str], options: dict[str, str]) -> None:
    """List the entries, or remove some of them.

    Raises:
        Refused: the options do not go together, or the cache's lock stays with another.
    """
    from tapeline.lookup import configure
    from tapeline.pipeline import cache, shared_cache

    target = configure(overrides).target
    limit = _bytes(options["keep"]) if "keep" in options else math.inf
    age = _seconds(options["older"]) if "older" in options else math.inf
    really = options.get("yes") == "true"
    limited = "keep" in options or "older" in options
    if "yes" in options and not limited:
        raise refuse(f"yes={options['yes']}", "does nothing without keep or older", "write keep=20GB yes=true")
    if shared := shared_cache.connect(target):
        if limited:
            _keep_shared(shared, limit, age, really=really)
        else:
            _list(target.cache, shared.kept())
        return
    root, folders = Path(target.cache), [Path(target.runs)]
    if limited:
        _keep(limit, age, root, folders, really=really)
    else:
        _list(target.cache, cache.kept(root, folders))


def _bytes(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(MB|GB|TB)", text)
    if not match:
        raise refuse(
            f"keep={text}", "is not a size with a unit", "write a number and MB, GB or TB, for example keep=20GB"
        )
    return float(match[1]) * UNITS[match[2]]


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,5})([mhdw])", text)
    if not match:
        fix = "write a number of minutes, hours, days or weeks, for example older=30d"
        raise refuse(f"older={text}", "is not an age", fix)
    return float(match[1]) * SECONDS[match[2]]


def _list(location: str, entries: Sequence[Kept]) -> None:
    from tapeline.console import table

    if not entries:
        print(f"{location} has no finished steps; tapeline run adds some")
        return
    rows = [(each.step, _size(each.bytes), _age(each.seconds), "a run" if each.named else "") for each in entries]
    table(("step", "size", "last used", "named by"), rows)
    print(f"{len(entries)} entries, {_size(_sum(entries))}; {_held(entries)}")


def _keep(limit: float, age: float, root: Path, folders: Sequence[Path], *, really: bool) -> None:
    """Remove entries that no run names: too old ones, and the oldest until the rest is within the limit."""
    from tapeline import files
    from tapeline.pipeline import cache

    if not root.is_dir():
        print(f"{root} has no finished steps; nothing to remove")
        return
    if really:
        # as with runs: aside by a rename under the lock, so that a kill leaves whole entries or none
        lock = files.locked(root / cache.LOCK, seconds=LOCK_SECONDS, what="the cache")
        with files.scratch(root, "removed") as aside, lock:
            entries = cache.kept(root, folders)
            going = _oldest(entries, limit, age)
            cache.set_aside([each.folder for each in going], aside)
    else:
        entries = cache.kept(root, folders)
        going = _oldest(entries, limit, age)
    _say(entries, going, really=really)


def _keep_shared(shared: Shared, limit: float, age: float, *, really: bool) -> None:
    """The same for a shared cache, whose entries no run names."""
    entries = shared.kept()
    going = _oldest(entries, limit, age)
    left = shared.remove(going) if really else 0
    _say(entries, going, really=really)
    if left:
        print(f"removed: {left} files of runs that did not end, or of entries that were replaced")


def _say(entries: Sequence[Kept], going: Sequence[Kept], *, really: bool) -> None:
    staying = [each for each in entries if each not in going]
    done = "removed" if really else "would go"
    print(f"{done}: {len(going)} of {len(entries)} entries, {_size(_sum(going))}")
    print(f"{'left' if really else 'would stay'}: {_size(_sum(staying))}; {_held(staying)}")
    if going and not really:
        print("nothing is removed yet: add yes=true")


def _oldest(entries: Sequence[Kept], limit: float, age: float) -> list[Kept]:
    """Of entries, the last used first, those to remove."""
    going: list[Kept] = []
    total = _sum(entries)
    for each in reversed(entries):
        if total <= limit and each.seconds <= age:
            break
        if not each.named:
            going.append(each)
            total -= each.bytes
    return going


def _held(entries: Sequence[Kept]) -> str:
    held = _sum([each for each in entries if each.named])
    if not held:
        return "runs name none of it"
    return f"runs name {_size(held)} of it, and tapeline runs keep=N, older=30d or remove=RUN removes runs"


def _sum(entries: Sequence[Kept]) -> int:
    return sum(each.bytes for each in entries)


def _size(number: int) -> str:
    unit = next((unit for unit in reversed(UNITS) if number >= UNITS[unit]), "MB")
    return f"{number / UNITS[unit]:.1f} {unit}"


def _age(seconds: float) -> str:
    length, unit = next(((length, unit) for length, unit in AGES if seconds >= length), AGES[-1])
    return f"{max(0, seconds) / length:.0f} {unit} ago"
