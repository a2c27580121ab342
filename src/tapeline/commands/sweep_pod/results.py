"""Pods of a sweep that read the results of its jobs: which are missing, and how all rank."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.clusters.argo.sweep import JOBS, PARTS, part
from tapeline.clusters.sweep import Definition, Job
from tapeline.commands.sweep import leaderboard
from tapeline.commands.sweep_pod import program
from tapeline.pipeline.graph import METRICS, REPORT

MOST_BYTES = 5_000_000
"""Of a file with packed results: a pod may have to write it to its log, of which the kubelet keeps 10 MB."""
LOST = "its pod ended without a result; the same command runs it again"


def find(sweep: Definition, results: Path, out: Path) -> None:
    """Write a list of the jobs without a result for each kind of pods, as JSON."""
    missing = [job for job in sweep.jobs if job.program and not _finished(job, results)]
    for kind in range(1 + max((job.kind for job in sweep.jobs), default=0)):
        names = [job.name for job in missing if job.kind == kind]
        files.write_bytes(out / (JOBS if kind == 0 else f"{JOBS}-{kind + 1}"), json.dumps(names).encode())
    files.write_bytes(out / "sweep.json", sweep.encode().encode())
    print(f"{len(missing)} of {len(sweep.jobs)} jobs have no result")


def _finished(job: Job, results: Path, *, unknown: bool = False) -> dict[str, Any] | None:
    """The record of a job that has finished with the data of now, or None.

    Args:
        job: of the sweep.
        results: so far.
        unknown: what counts where no pod could say what the data is.
    """
    record = _read(results / "jobs" / f"{job.name}.json")
    digest = _read(results / "data" / f"{job.data}.json").get("digest")
    same = record.get("key") == program.key(job, digest) if digest else unknown
    return record if record.get("status") == "finished" and same else None


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        record = files.read_json(path)
        return record if isinstance(record, dict) else {}
    return {}


def rank(sweep: Definition, results: Path, out: Path) -> None:
    """Write the leaderboard as on this machine, and pack it with the records and reports for those who follow."""
    (out / "runs").symlink_to((results / "runs").absolute())
    records = {job.name: _record(job, results, out / "runs" / job.name) for job in sweep.jobs}
    shown = io.StringIO()
    with redirect_stdout(shown):
        leaderboard.write([records[name] for name in sorted(records)], out)
    files.write_bytes(out / "leaderboard.txt", shown.getvalue().encode())
    number = _pack(_packed(records, out), out / "files")
    files.write_bytes(out / PARTS, str(number).encode())
    print(shown.getvalue())


def _record(job: Job, results: Path, run: Path) -> dict[str, Any]:
    """A job's record as the leaderboard takes it."""
    failed = {"overrides": list(job.overrides), "status": "failed", "problem": job.problem or LOST, "seconds": 0.0}
    if job.program is None:
        return failed
    if (
        (found := _finished(job, results, unknown=True))
        and (run / METRICS.file).exists()
        and (run / REPORT.file).exists()
    ):
        return {**found, "run": str(run)}
    record = _read(results / "jobs" / f"{job.name}.json")
    return record if record.get("status") == "failed" else failed


def _packed(records: Mapping[str, Mapping[str, Any]], out: Path) -> Iterator[tuple[str, bytes]]:
    for name in ("leaderboard.csv", "leaderboard.html", "leaderboard.txt"):
        yield name, (out / name).read_bytes()
    for name, record in records.items():
        finished = record["status"] == "finished"
        yield f"jobs/{name}.json", files.json_bytes({**record, "run": f"runs/{name}"} if finished else record)
        for made in (METRICS, REPORT) if finished else ():
            yield f"runs/{name}/{made.file}", (out / "runs" / name / made.file).read_bytes()


def _pack(content: Iterator[tuple[str, bytes]], folder: Path) -> int:
    """Write zip files of bounded size; return how many."""
    folder.mkdir()
    number, size, made = 0, 0, list[tuple[str, bytes]]()
    for name, text in content:
        packed = len(_zipped([(name, text)]))
        if made and size + packed > MOST_BYTES:
            (folder / part(number)).write_bytes(_zipped(made))
            number, size, made = number + 1, 0, []
        made.append((name, text))
        size += packed
    (folder / part(number)).write_bytes(_zipped(made))
    return number + 1


def _zipped(content: Sequence[tuple[str, bytes]]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content:
            archive.writestr(name, text)
    return packed.getvalue()
