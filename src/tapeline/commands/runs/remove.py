"""Remove old runs and the cache entries that no other run uses; nothing is removed without `yes=true`.

tapeline runs remove=a,b        tapeline runs keep=10        tapeline runs older=30d yes=true
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tapeline import files
from tapeline.config.schema import Target
from tapeline.errors import printable, refuse
from tapeline.pipeline import cache
from tapeline.pipeline import run_folder as past
from tapeline.pipeline.run_folder import Run

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LOCK_SECONDS = 10


def remove(options: Mapping[str, str], target: Target) -> None:
    """Remove the runs that `remove`, or `keep` and `older`, select; without yes=true only list them.

    Raises:
        Refused: no such run, a process is at work on it, or a key says nothing that can be done.
    """
    folder, root = Path(target.runs), cache.local_folder(target.cache)
    known = past.runs(folder)
    going = _named(options["remove"], folder) if "remove" in options else _old(options, known, past.latest(folder))
    lines = [f"  {printable(run.name)}  {run.decision if run.metrics else run.problem}" for run in going]
    if options.get("yes") == "true":
        entries, size = _remove(going, folder, root)
    else:
        entries = cache.unused(root, [folder], [run.folder for run in going])
        size = files.size([*(run.folder for run in going), *entries])
    print(*lines, sep="\n", end="\n" if lines else "")
    done, runs = "removed" if options.get("yes") == "true" else "would go", f"{len(going)} of {len(known)} runs"
    print(f"{done}: {runs}, and {len(entries)} steps in the cache that no other run uses; {size / 1e6:.1f} MB")
    if options.get("yes") != "true" and (going or entries):
        print("nothing is removed yet: add yes=true")


def _named(texts: str, folder: Path) -> list[Run]:
    going = past.named(texts, folder, "remove")
    if busy := [run.name for run in going if run.at_work]:
        raise refuse(f"remove={busy[0]}", "a process is running it", "wait until it ends, or stop it")
    return going


def _old(options: Mapping[str, str], known: Sequence[Run], latest: str | None) -> list[Run]:
    """The runs to remove: neither `keep` nor `older` keeps them; never the latest or a running one."""
    keep = options.get("keep", "0")
    if not re.fullmatch(r"[0-9]{1,9}", keep):
        raise refuse(f"keep={keep}", "is not a number of runs", "write keep=10")
    before = datetime.now(UTC) - (_age(options["older"]) if "older" in options else timedelta())
    old = [run for run in known[int(keep) :] if run.started < before]
    return [run for run in old if run.name != latest and not run.at_work]


def _age(text: str) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,5})([mhdw])", text)
    if not match:
        raise refuse(
            f"older={text}", "is not an age", "write a number of minutes, hours, days or weeks, for example older=30d"
        )
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def _remove(going: Sequence[Run], folder: Path, root: Path) -> tuple[Collection[Path], int]:
    """Move runs and entries to a temporary folder, then delete them; return the entries and the bytes of all.

    What was moved aside belongs to no run, so a kill leaves complete runs, or none. No run links an entry meanwhile:
    `cache.claim` waits for the lock.
    """
    if not root.is_dir() and not going:
        return (), 0
    with ExitStack() as stack:
        aside = [stack.enter_context(files.scratch(each, "removed")) for each in (folder, root)]
        with files.locked(root / cache.LOCK, seconds=LOCK_SECONDS, what="the cache"):
            entries = cache.unused(root, [folder], [run.folder for run in going])
            for run in going:
                os.rename(run.folder, aside[0] / run.name)
            cache.set_aside(entries, aside[1])
        _point_latest(folder)
        return entries, files.size(aside)


def _point_latest(folder: Path) -> None:
    """Let `latest` name the newest finished run if its run was removed."""
    link = folder / "latest"
    if link.exists() or not link.is_symlink():
        return
    if finished := [run for run in past.runs(folder) if run.finished]:
        files.point(link, finished[0].name)
    else:
        link.unlink()
