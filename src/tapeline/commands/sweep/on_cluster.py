"""A sweep on Argo Workflows: make sweep target=argo model=flat,deep target.cache=s3://cache/prices

The workflow has all jobs and the leaderboard; this command starts it, prints a line for each job, and copies the
results. The same line again goes on with a workflow that still runs, or starts one that runs only what is missing.
"""

from __future__ import annotations

import io
import re
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tapeline import files
from tapeline.checks import before_build, configured
from tapeline.clusters import sweep as sweeps
from tapeline.clusters.argo import sweep as argo
from tapeline.clusters.argo import sweep_run
from tapeline.clusters.run_status import SECONDS, Part
from tapeline.clusters.sweep import Sweep
from tapeline.commands.submit.follow import Ended, Failed, interrupted
from tapeline.commands.sweep import board_page, jobs, leaderboard, quota
from tapeline.config import compose as conf
from tapeline.config.overrides import parse
from tapeline.config.schema import Config
from tapeline.errors import Finding, Refused, program, refuse

PACKED = re.compile(r"leaderboard\.(csv|html|txt)|jobs/\w+\.json|runs/\w+/(metrics\.json|report\.html)")
"""Names of files among the results."""
ALTERNATIVE = "write target=argo, leave it out for a sweep on this machine, or submit the jobs one by one"


def run(overrides: Sequence[str], target: str, name: str | None) -> Path:
    """Run the sweep on the cluster and copy its results; return its folder, which `sweeps/latest` names.

    Args:
        overrides: as typed.
        target: the option of the group target.
        name: of the folder; by default the digest that names the sweep in the artifact repository.

    Raises:
        Refused: the target has no sweeps, all jobs are refused, the cluster says no, or no job finished.
    """
    sweep = _laid_out(overrides, target)
    sweep_run.check(sweep)
    quota.check(sweep.target, argo.workflow(sweep, {})["spec"])
    folder = (Path("sweeps") / (name or sweep.name)).absolute()
    with interrupted():
        running = sweep_run.running(sweep)
        run = running or sweep_run.begin(sweep, overrides)
        print(f"argo: {run}" + (" still runs, and is followed" if running else ""), flush=True)
        try:
            look = _follow(sweep, run)
            _keep(sweep_run.fetch(sweep, run, look.files), folder)
        except KeyboardInterrupt as signalled:
            _say_how_to_go_on(sweep, run)
            sys.exit(143 if isinstance(signalled, Ended) else 130)
        except Failed:
            raise
        except Refused as error:
            fix = "the same line again follows it, or starts what is missing"
            raise Refused(*error.findings, Finding(run, "was started, and may still run", fix)) from None
    print((folder / "leaderboard.txt").read_text(encoding="utf-8"), end="")
    leaderboard.say_where(folder)
    files.point(folder.parent / "latest", folder.name)
    records = [files.read_json(folder / "jobs" / f"{job.name}.json") for job in sweep.definition.jobs]
    if not any(record["status"] == "finished" for record in records):
        raise refuse(folder / "leaderboard.csv", "no job of this sweep finished", "see the reasons in this file")
    return folder


def _laid_out(overrides: Sequence[str], target: str) -> Sweep:
    if target != "argo":
        raise refuse(f"target={target}", "a sweep runs on this machine or on Argo Workflows", ALTERNATIVE)
    findings = []
    for each in parse(overrides):
        if each.key.startswith(("hydra.", "hydra/")):
            problem = "has no effect on a cluster, where target.parallelism says how many jobs run at once"
            findings.append(Finding(each.text, problem, "remove it, and write for example target.parallelism=2"))
        elif each.section == "target" and each.sweep:
            findings.append(Finding(each.text, "all jobs of a sweep run in one place", "give it one value"))
    if findings:
        raise Refused(*findings)
    conf.for_hydra(parse(overrides), sweep=True)  # refuses what no option or function of Hydra is
    made = [(each, _configured(each)) for each in jobs.expanded(overrides)]
    refusals = [each for _, each in made if isinstance(each, Refused)]
    if len(refusals) == len(made):
        raise jobs.once(refusals)
    return sweeps.sweep(made)


def _configured(overrides: Sequence[str]) -> Config | Refused:
    try:
        return configured(overrides, before_build)
    except Refused as error:
        return error


def _follow(sweep: Sweep, run: str) -> sweep_run.Look:
    """Print a line for each job, and for other pods, until the workflow has ended.

    Raises:
        Failed: it did not come to its leaderboard.
    """
    known = sweep.definition.jobs
    common = [word for word in known[0].overrides if all(word in job.overrides for job in known)]
    shown = {job.name: board_page.own(" ".join(job.overrides), common) for job in known}
    print(*(f"  {shown[job.name]}: {job.problem}\n" for job in known if not job.program), sep="", end="", flush=True)
    shown = {job.name: shown[job.name] for job in known if job.program}
    said = set[str]()
    while True:
        look = sweep_run.look(sweep, run)
        for line in _lines(look, shown):
            if line not in said:
                print(line, flush=True)
                said.add(line)
        if look.ended:
            break
        time.sleep(SECONDS)
    if look.ended == "failed" or not look.files:
        reasons = [f"{part.name}: {part.note}" for part in look.parts if part.state == "failed"]
        problem = "; ".join(reasons) or look.message or "it has no leaderboard"
        fix = f"see {sweep_run.hint(sweep, run)}; the same line again runs what is missing"
        raise Failed(*refuse(run, problem, fix).findings)
    return look


def _lines(look: sweep_run.Look, shown: Mapping[str, str]) -> Iterator[str]:
    for part in look.parts:
        if part.state not in ("runs", "skipped"):
            yield f"  {part.name.partition('(')[0]}: {_detail(part)}"
    if look.missing is not None:
        yield from (f"  {job}: finished before" for name, job in shown.items() if name not in look.missing)
    for part in look.jobs:
        if part.state == "ran" and (look.ended or part.name in look.said):  # outputs may come after the phase
            yield f"  {shown.get(part.name, part.name)}: {look.said.get(part.name, '')}, {part.seconds:.1f} s"
        elif part.state not in ("ran", "runs", "skipped"):
            yield f"  {shown.get(part.name, part.name)}: {_detail(part)}"


def _detail(part: Part) -> str:
    return f"{part.state}, {part.seconds:.1f} s" if part.state == "ran" else f"{part.state}, {part.note}"


def _keep(packed: Sequence[bytes], folder: Path) -> None:
    """Write the results as a sweep on this machine does; the runs lie in the sweep's folder."""
    for content in packed:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                if PACKED.fullmatch(name):
                    files.write_bytes(_made(folder / name), archive.read(name))
    for path in (folder / "jobs").glob("*.json"):
        record = files.read_json(path)
        if record["status"] == "finished":
            files.write_json(path, {**record, "run": str(folder / "runs" / path.stem)})


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _say_how_to_go_on(sweep: Sweep, run: str) -> None:
    stop = f"{program()} submit target=argo target.namespace={sweep.target.namespace} run={run} stop=true"
    for line in (
        f"{run} is still running; {sweep_run.hint(sweep, run)} shows its progress",
        f"the same line again follows it, and {stop} stops it",
    ):
        print(f"tapeline: {line}", file=sys.stderr)
