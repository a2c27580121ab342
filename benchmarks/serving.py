"""Latency and throughput of `tapeline serve` for each family, with promotions and rollbacks meanwhile.

8 clients ask over REST on loopback; each answer must come from a version that the server had loaded
at that moment. Beside it the same models called in process, and LightGBM's servable beside its booster.

    make bench-serving
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tapeline.lookup import configure as compose
from tapeline.serving import saved_model as servable
from tapeline.serving.store import operations as verbs
from tapeline.serving.store import versions as store

FAMILIES = ("flat", "deep", "lightgbm")
CLIENTS, SECONDS, SWAPS = 8, 20, 17
"""For each family: 60 seconds and 51 swaps in all."""
Array = np.ndarray[Any, Any]


def main() -> None:
    """Print a line for each family."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for family in FAMILIES:
            for steps in (100, 200):
                gate = ["gate.threshold=0", "gate.baseline_margin=null"]
                line = ["run", f"model={family}", f"model.steps={steps}", *gate, f"serving.name={family}"]
                subprocess.run([sys.executable, "-m", "tapeline", *line], cwd=folder, check=True, capture_output=True)
        port = _free_port()
        listen = [f"serving.rest_port={port}", "serving.grpc_port=0", "serving.poll_seconds=0.2"]
        with (folder / "serve.log").open("w") as log:
            serving = [sys.executable, "-m", "tapeline", "serve", *listen]
            server = subprocess.Popen(serving, cwd=folder, stdout=log, stderr=log)
            try:
                for family in FAMILIES:
                    _family(family, folder, port)
            finally:
                server.terminate()
                server.wait()
    _booster()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _family(family: str, folder: Path, port: int) -> None:
    for _ in range(300):
        if _status(port, family):
            break
        time.sleep(0.1)
    row = np.full((1, 24), 0.001, np.float32)
    answers, wrong = asyncio.run(_load(family, folder, port, row.tolist()))
    failed = sum(answer is None for answer in answers)
    took = np.array([answer for answer in answers if answer is not None])
    inside = _seconds_of(servable.load(folder / "store" / family / "1"), row)
    print(
        f"  {family:9}{len(answers) / SECONDS:6,.0f} requests/s, p50 {1e3 * np.median(took):.1f} ms, "
        f"p99 {1e3 * np.quantile(took, 0.99):.1f} ms; {SWAPS} swaps, {failed} failed, {wrong} from a version not live; "
        f"in process {1e3 * inside:.2f} ms",
        flush=True,
    )


async def _load(family: str, folder: Path, port: int, rows: Any) -> tuple[list[float | None], int]:
    """Ask and swap for SECONDS; latencies in seconds, None for a failure, and answers of the wrong version."""
    import aiohttp

    url = f"http://127.0.0.1:{port}/v1/models/{family}"
    names = {each.model_version: each.number for each in store.read(folder / "store", family).versions()}
    answers: list[float | None] = []
    said: list[tuple[float, float, int]] = []
    loaded: list[tuple[float, set[int]]] = []
    end = time.monotonic() + SECONDS

    async def ask(session: aiohttp.ClientSession) -> None:
        while (begun := time.monotonic()) < end:
            try:
                async with session.post(f"{url}:predict", json={"instances": rows}) as answer:
                    record = await answer.json(content_type=None)
                    version = names[record["predictions"][0]["model_version"]]
                done = time.monotonic()
                said.append((begun, done, version))
                answers.append(done - begun)
            except (aiohttp.ClientError, KeyError):
                answers.append(None)

    async def watch(session: aiohttp.ClientSession) -> None:
        while time.monotonic() < end:
            async with session.get(url) as answer:
                record = await answer.json(content_type=None)
            states = record["model_version_status"]
            loaded.append((time.monotonic(), {int(each["version"]) for each in states if each["state"] != "END"}))
            await asyncio.sleep(0.05)

    async def swap() -> None:
        serving = compose([f"serving.name={family}"]).serving
        for number in range(SWAPS):
            await asyncio.sleep(SECONDS / (SWAPS + 1))
            change: Callable[[], str] = (
                (lambda: verbs.promote(2, folder / "store", serving)) if number % 2
                else (lambda: verbs.rollback(folder / "store", serving))
            )  # fmt: skip
            await asyncio.to_thread(change)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(ask(session) for _ in range(CLIENTS)), watch(session), swap())
    wrong = 0
    for begun, done, version in said:
        near = [seen for at, seen in loaded if begun - 0.2 <= at <= done + 0.2]
        wrong += bool(near) and version not in set().union(*near)
    return answers, wrong


def _status(port: int, name: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models/{name}", timeout=5) as answer:
            states = json.loads(answer.read())["model_version_status"]
            return any(each["state"] == "AVAILABLE" for each in states)
    except (OSError, urllib.error.HTTPError):
        return False


def _seconds_of(call: Callable[[Array], Any], rows: Array) -> float:
    """Median seconds of a call, warm."""
    times = []
    for number in range(60):
        begun = time.perf_counter()
        call(rows)
        if number >= 10:
            times.append(time.perf_counter() - begun)
    return float(np.median(times))


def _booster() -> None:
    """300 trees of 31 leaves on 24 features: the servable from disk beside booster.predict."""
    import lightgbm

    from tapeline import tensorflow as tf
    from tapeline.models.lightgbm.tensorflow_graph import servable as as_module
    from tapeline.models.lightgbm.text_format import parse

    random = np.random.default_rng(0)
    features = random.standard_normal((20_000, 24)).astype(np.float32)
    target = (features[:, 0] * features[:, 1] + features[:, 2] + random.standard_normal(20_000) < 0).astype(int)
    keys = {"objective": "binary", "num_leaves": 31, "verbosity": -1, "num_threads": 1, "seed": 0}
    booster = lightgbm.train(keys, lightgbm.Dataset(features, target), 300)
    with tempfile.TemporaryDirectory() as name, tf.quiet():
        about = {"name": "trees", "model_version": "0" * 12, "features": [str(each) for each in range(24)]}
        servable.write(as_module(parse(booster.model_to_string())), about, features[:8], Path(name) / "1")
        call = servable.load(Path(name) / "1")
        one, many = _seconds_of(call, features[:1]), _seconds_of(call, features[:1000])
        other = _seconds_of(booster.predict, features[:1000])
    rate, theirs = 1000 / many, 1000 / other
    print(
        f"  300 trees x 31 leaves: batch 1 in {1e3 * one:.2f} ms (at most 1 wanted), batch 1,000 at {rate:,.0f} "
        f"rows/s, {rate / theirs:.2f} of booster.predict's {theirs:,.0f} (at least 0.125 wanted)"
    )
