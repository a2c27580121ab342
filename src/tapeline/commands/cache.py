"""Finished steps on the disk, in `target.cache`: tapeline cache        tapeline cache keep=20GB yes=true"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tapeline.commands import Option
from tapeline.errors import refuse

if TYPE_CHECKING:
    from tapeline.pipeline.cache import Kept

GROUP = "maintenance"
HELP = "list finished steps in the cache, or remove the oldest that no run names"
OPTIONS = (
    Option("keep", "SIZE", "remove the oldest until the cache is not larger than this, as in keep=20GB"),
    Option("yes", "true|false", "really remove; without it keep only prints what it would do", "false"),
)
READS = ("target.cache", "target.name", "target.runs")
EXAMPLES = (
    ("tapeline cache", "lists each entry with its step, size, age, and whether a run names it"),
    ("tapeline cache keep=20GB", "prints what would be removed to come down to 20 GB"),
    ("tapeline cache keep=20GB yes=true", "removes it"),
)
UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
LOCK_SECONDS = 10
AGES = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def run(overrides: list[str], options: dict[str, str]) -> None:
    """List the entries, or remove some of them.

    Raises:
        Refused: the options do not go together, or the cache's lock stays with another.
    """
    from tapeline.lookup import configure

    target = configure(overrides).target
    root, folders = Path(target.cache), [Path(target.runs)]
    if "keep" in options:
        _keep(_bytes(options["keep"]), root, folders, really=options.get("yes") == "true")
    elif "yes" in options:
        raise refuse(f"yes={options['yes']}", "does nothing without keep", "write keep=20GB yes=true")
    else:
        _list(root, folders)


def _bytes(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(MB|GB|TB)", text)
    if not match:
        raise refuse(f"keep={text}", "is no size with a unit", "write a number and MB, GB or TB, as in keep=20GB")
    return float(match[1]) * UNITS[match[2]]


def _list(root: Path, folders: Sequence[Path]) -> None:
    from tapeline.console import table
    from tapeline.pipeline import cache

    entries = cache.kept(root, folders)
    if not entries:
        print(f"{root} holds no finished steps; tapeline run fills it")
        return
    rows = [(each.step, _size(each.bytes), _age(each.seconds), "a run" if each.named else "") for each in entries]
    table(("step", "size", "last used", "named by"), rows)
    print(f"{len(entries)} entries, {_size(_sum(entries))}; {_held(entries)}")


def _keep(limit: float, root: Path, folders: Sequence[Path], *, really: bool) -> None:
    """Remove the oldest entries that no run names, until the rest is not above the limit."""
    from tapeline import files
    from tapeline.pipeline import cache

    if not root.is_dir():
        print(f"{root} holds no finished steps; nothing to remove")
        return
    if really:
        # as with runs: aside by a rename under the lock, so that a kill leaves whole entries or none
        lock = files.locked(root / cache.LOCK, seconds=LOCK_SECONDS, what="the cache")
        with files.scratch(root, "removed") as aside, lock:
            entries = cache.kept(root, folders)
            going = _oldest(entries, limit)
            cache.set_aside([each.folder for each in going], aside)
    else:
        entries = cache.kept(root, folders)
        going = _oldest(entries, limit)
    staying = [each for each in entries if each not in going]
    done = "removed" if really else "would go"
    print(f"{done}: {len(going)} of {len(entries)} entries, {_size(_sum(going))}")
    print(f"{'left' if really else 'would stay'}: {_size(_sum(staying))}; {_held(staying)}")
    if going and not really:
        print("nothing is removed yet: add yes=true")


def _oldest(entries: Sequence[Kept], limit: float) -> list[Kept]:
    """Of entries, the last used first, those to remove."""
    going: list[Kept] = []
    total = _sum(entries)
    for each in reversed(entries):
        if total <= limit:
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
