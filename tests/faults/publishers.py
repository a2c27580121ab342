"""Publishers killed at random moments: into a folder, and into S3 on loopback, which is then mirrored."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import fsspec

from tapeline.serving import saved_model as servable
from tapeline.serving.store import location, state, sync
from tapeline.serving.store import versions as store
from tests.serving import servers
from tests.serving.publisher import publish, stand_in
from tests.serving.test_objects import start, whole

LETTERS = "abcdefghijklmnop"
AS_PEOPLE_NAME_IT = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}


def main(times: int, moments: random.Random, folder: Path) -> Counter[str]:
    """Kill `times` publishers of each kind of store; what has a number afterwards has to be whole."""
    servable.verify = lambda folder: None  # stand-ins do not load
    with servers.serving(servers.s3()) as address:
        os.environ.update(AS_PEOPLE_NAME_IT, AWS_ENDPOINT_URL=address, NO_PROXY="127.0.0.1")
        fsspec.filesystem("s3").mkdir("s3://faults")
        return _kill(str(folder / "store"), times, moments, folder) + _kill("s3://faults/store", times, moments, folder)


def _kill(url: str, times: int, moments: random.Random, folder: Path) -> Counter[str]:
    counted: Counter[str] = Counter()
    mirror = folder / ("mirror" if "://" in url else "store")
    for attempt in range(times):
        process = start(url, "m", *(f"{attempt:02}{letter}" * 4 for letter in LETTERS))
        assert process.stdout
        process.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.6))
        process.kill()
        process.wait()
        counted += Counter(runs=1, kills=1)
        try:
            if "://" in url and state.load(location.backend(url)).etag:
                sync.once(url, mirror)
            whole(mirror)
        except (AssertionError, OSError, ValueError) as error:
            print(f"  half-written after a kill: {error!r}")
            counted["wrong numbers"] += 1
    last = publish(url, stand_in(folder / f"last{len(url)}", "z" * 12))
    counted["results"] += store.read(url, "m").live() == last
    return counted
