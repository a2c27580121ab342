"""Pods of a sweep that run steps: they take from the shared cache what is there, and add what is not."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.clusters.argo.sweep import KEPT, SAID
from tapeline.clusters.sweep import Definition, Job
from tapeline.commands.step import program
from tapeline.commands.sweep import leaderboard
from tapeline.errors import Refused, refuse
from tapeline.pipeline import cache_key
from tapeline.pipeline.graph import METRICS, PROFILE
from tapeline.redaction import scrub

RECORD, DATA = "job.json", "data.json"


def data(sweep: Definition, name: str, out: Path) -> None:
    """Make raw data and features of a data configuration, and write down the digest of the data.

    Raises:
        Refused: there is no such configuration. Data that is refused has no digest: its jobs say why.
    """
    if name not in sweep.data:
        raise refuse(f"name={name}", "the sweep has no such data", f"use one of: {', '.join(sweep.data)}")
    digest = None
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / PROFILE.file
        try:
            program.run(sweep.data[name].arguments({PROFILE.name: profile}))
            digest = files.read_json(profile)["digest"]
        except Refused as error:
            print(error, file=sys.stderr)
    files.write_json(out / DATA, {"digest": digest})


def job(sweep: Definition, name: str, out: Path) -> None:
    """Run a job up to its report, and write its record: also of one that fails, which does not end the sweep.

    Raises:
        Refused: the sweep has no such job.
    """
    found = sweep.job(name)
    if found.program is None:
        raise refuse(f"name={name}", "this job is refused and has no pod", found.problem)
    started = time.perf_counter()
    record = _ran(found, out)
    record["seconds"] = time.perf_counter() - started
    said = record["problem"] or leaderboard.shown(record)
    files.write_bytes(out / SAID, said.encode())
    files.write_json(out / RECORD, record)
    print(said, flush=True)


def _ran(found: Job, out: Path) -> dict[str, Any]:
    record: dict[str, Any] = {"overrides": list(found.overrides), "status": "failed", "problem": None}
    assert found.program is not None
    try:
        program.run(found.program.arguments({made.name: out / made.file for made in KEPT}))
        metrics = files.read_json(out / METRICS.file)
    except Refused as error:
        return record | {"problem": "; ".join(str(finding) for finding in error.findings)}
    except Exception as error:  # a job must not take the others with it
        traceback.print_exc()
        return record | {"problem": scrub(f"{type(error).__name__}: {error}")}
    record |= {"status": "finished", "run": found.name, "metrics": metrics}
    return record | {"key": key(found, metrics["data"]["digest"])}


def key(found: Job, digest: str) -> str:
    """What a result depends on, beside all that names the sweep: the data, and tapeline's own source."""
    return files.digest(found.name, digest, cache_key.digest_of_source())
