"""Kill publishers at random moments: one store in a folder, and one on SeaweedFS, which is mirrored."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

from tapeline.serving.store import location, state, sync, versions
from tests.faults import stores
from tests.serving.publishing import fake_servable, publish
from tests.serving.test_object_storage import check_mirror, start_publisher

LETTERS = "abcdefghijklmnop"


def main(times: int, moments: random.Random, folder: Path) -> Counter[str]:
    """Kill `times` publishers of each store; every version in the store or its mirror has to be complete."""
    counted: Counter[str] = Counter()
    with stores.both(folder) as both:
        for store in both:
            counted += _kill(str(store), times, moments, folder)
    return counted


def _kill(url: str, times: int, moments: random.Random, folder: Path) -> Counter[str]:
    counted: Counter[str] = Counter()
    mirror = folder / ("mirror" if "://" in url else "store")
    for attempt in range(times):
        process = start_publisher(url, "m", *(f"{attempt:02}{letter}" * 4 for letter in LETTERS))
        assert process.stdout
        process.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.6))
        process.kill()
        process.wait()
        counted += Counter(runs=1, kills=1)
        try:
            if "://" in url and state.load(location.backend(url)).etag:
                sync.once(url, mirror)
            check_mirror(mirror)
        except (AssertionError, OSError, ValueError) as error:
            print(f"  half-written after a kill: {error!r}")
            counted["wrong numbers"] += 1
    last = publish(url, fake_servable(folder / f"last{len(url)}", "z" * 12))
    counted["results"] += versions.read(url, "m").live() == last
    return counted
