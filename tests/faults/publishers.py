"""Kill publishers at random moments: one store in a folder, and one in S3 on loopback, which is mirrored."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import fsspec

from tapeline.serving import saved_model
from tapeline.serving.store import location, state, sync, versions
from tests.serving import storage_servers
from tests.serving.publishing import fake_servable, publish
from tests.serving.test_object_storage import check_mirror, start_publisher

LETTERS = "abcdefghijklmnop"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}


def main(times: int, moments: random.Random, folder: Path) -> Counter[str]:
    """Kill `times` publishers of each store; every version in the store or its mirror has to be complete."""
    saved_model.verify = lambda folder: None  # the fake servables do not load
    with storage_servers.serving(storage_servers.s3()) as endpoint:
        os.environ.update(CREDENTIALS, AWS_ENDPOINT_URL=endpoint, NO_PROXY="127.0.0.1")
        fsspec.filesystem("s3").mkdir("s3://faults")
        return _kill(str(folder / "store"), times, moments, folder) + _kill("s3://faults/store", times, moments, folder)


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
