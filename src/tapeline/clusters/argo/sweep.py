"""A sweep as one Workflow of Argo, complete in itself.

    data           a pod for each distinct data configuration fills the shared cache
    find           one pod lists the jobs that have no result yet
    jobs           withParam over this list: a pod for each job
    leaderboard    one pod takes all results as one artifact

A later workflow of the same sweep finds the results of earlier ones under the same keys. `parallelism` of the workflow
limits the pods at one time. A pod that is lost ends neither the other jobs nor the leaderboard.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tapeline.clusters import pod_spec as pods
from tapeline.clusters.argo import retries
from tapeline.clusters.argo.template import EXECUTOR_SECURITY, IN, OUT
from tapeline.clusters.plan import Task
from tapeline.clusters.sweep import Definition, Kind, Sweep
from tapeline.config.schema import Argo
from tapeline.pipeline.graph import METRICS, PREDICTIONS, REPORT, SCORES

Object = dict[str, Any]

SWEEP = "tapeline.dev/sweep"
"""Label of a workflow: the name of its sweep."""
GRAPH, DATA, FIND, JOBS, LEADERBOARD = "graph", "data", "find", "jobs", "leaderboard"
"""Templates and tasks; of several kinds of pods, the later ones have a number."""
DEFINITION, RESULTS = f"{IN}/sweep.json", f"{IN}/sweep"
KEPT = (METRICS, REPORT, PREDICTIONS, SCORES)
"""What a job's pod keeps: the leaderboard compares predictions."""
SAID, PARTS = "said", "parts"
"""Output parameters: one line about a job; how many files the results are packed into."""


def prefix(name: str) -> str:
    """The start of the keys of a sweep's results in the artifact repository."""
    return f"sweeps/{name}"


def part(number: int) -> str:
    """The name of a file with packed results."""
    return f"part-{number}.zip"


def workflow(sweep: Sweep, annotations: Mapping[str, str]) -> Object:
    """The workflow, which has no name yet."""
    target = sweep.target
    templates = [
        _graph(sweep),
        *(_data(sweep, kind, at) for at, kind in enumerate(sweep.data)),
        _find(sweep),
        *(_job(sweep, kind, at) for at, kind in enumerate(sweep.jobs)),
        _leaderboard(sweep),
    ]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "generateName": f"sweep-{sweep.name}-",
            "namespace": target.namespace,
            "labels": {**pods.LABELS, SWEEP: sweep.name},
            "annotations": dict(annotations),
        },
        "spec": {
            "entrypoint": GRAPH,
            "parallelism": target.parallelism,
            "activeDeadlineSeconds": _seconds(sweep),
            "templates": templates,
            "ttlStrategy": {"secondsAfterCompletion": target.ttl_seconds},
            "podGC": {"strategy": "OnPodSuccess", "deleteDelayDuration": "3600s"},
            "workflowMetadata": {"labels": pods.LABELS},
            "serviceAccountName": target.runner,
            "automountServiceAccountToken": False,
            "executor": {"serviceAccountName": target.executor},
            "securityContext": pods.POD_SECURITY,
            "podSpecPatch": EXECUTOR_SECURITY,
            **({"imagePullSecrets": [{"name": target.pull_secret}]} if target.pull_secret else {}),
        },
    }


def _seconds(sweep: Sweep) -> int:
    """Time for all pods, of which each has the deadline of a run, in turns of `parallelism`."""
    target, definition = sweep.target, sweep.definition
    turns = sum(math.ceil(len(each) / target.parallelism) for each in (definition.data, definition.jobs))
    waits = target.gpu_wait_seconds if any(kind.hw for kind in sweep.jobs) else 0
    return (turns + 2) * target.deadline_seconds + waits


def _named(name: str, at: int) -> str:
    return name if at == 0 else f"{name}-{at + 1}"


def _graph(sweep: Sweep) -> Object:
    data = [_named(DATA, at) for at in range(len(sweep.data))]
    jobs = [_named(JOBS, at) for at in range(len(sweep.jobs))]
    tasks = [
        *(_fan_out(name, withItems=list(kind.names)) for name, kind in zip(data, sweep.data, strict=True)),
        {"name": FIND, "template": FIND, "depends": _ended(data)},
        *(_fan_out(name, withParam=f"{{{{tasks.{FIND}.outputs.parameters.{name}}}}}", depends=FIND) for name in jobs),
        {"name": LEADERBOARD, "template": LEADERBOARD, "depends": _ended(jobs)},
    ]
    return {"name": GRAPH, "dag": {"failFast": False, "tasks": tasks}}


def _fan_out(name: str, **items: Any) -> Object:
    parameters = [{"name": "name", "value": "{{item}}"}]
    return {"name": name, "template": name, "arguments": {"parameters": parameters}, **items}


def _ended(tasks: Sequence[str]) -> str:
    """These tasks have ended, in whatever way; a list without items is Skipped."""
    states = ("Succeeded", "Failed", "Errored", "Skipped")
    return " && ".join(f"({' || '.join(f'{name}.{state}' for state in states)})" for name in tasks)


def _data(sweep: Sweep, kind: Kind, at: int) -> Object:
    """It makes raw data and features, and writes down the digest of the data."""
    made = _output("data", "data.json", f"{prefix(sweep.name)}/data/{{{{inputs.parameters.name}}}}.json")
    words = ["do=data", "name={{inputs.parameters.name}}"]
    own = _raw(Definition((), {name: sweep.definition.data[name] for name in kind.names}))
    return _template(sweep, kind.task, _named(DATA, at), words, taken=[own], artifacts=[made], each=True)


def _raw(definition: Definition) -> Object:
    """A definition that stands in the workflow. Argo copies it to the status of each pod that takes it."""
    return {"name": "sweep", "path": DEFINITION, "raw": {"data": definition.encode()}}


def _stored(sweep: Sweep) -> Object:
    """The definition, as the pod `find` stored it for those behind it."""
    return {"name": "sweep", "path": DEFINITION, "s3": {"key": f"{prefix(sweep.name)}/sweep.json"}}


def _find(sweep: Sweep) -> Object:
    """It lists the jobs without a result, and stores the definition for their pods."""
    lists = [_named(JOBS, at) for at in range(len(sweep.jobs))]
    said = [{"name": name, "valueFrom": {"path": f"{OUT}/{name}"}} for name in lists]
    taken = [_raw(sweep.definition), *(_results(sweep, folder) for folder in ("data", "jobs"))]
    made, words = (
        [_output("sweep", "sweep.json", f"{prefix(sweep.name)}/sweep.json")],
        ["do=find", f"results={RESULTS}"],
    )
    return _template(sweep, plain(sweep.target), FIND, words, taken=taken, artifacts=made, said=said)


def _job(sweep: Sweep, kind: Kind, at: int) -> Object:
    """Its record is its last output, so that a job which has one has a report, too."""
    where, name = prefix(sweep.name), "{{inputs.parameters.name}}"
    kept = [_output(made.name, made.file, f"{where}/runs/{name}/{made.file}", optional=True) for made in KEPT]
    artifacts = [*kept, _output("job", "job.json", f"{where}/jobs/{name}.json")]
    said = [{"name": SAID, "valueFrom": {"path": f"{OUT}/{SAID}", "default": ""}}]
    words = ["do=job", f"name={name}"]
    taken = [_stored(sweep)]
    made = _template(sweep, kind.task, _named(JOBS, at), words, taken=taken, artifacts=artifacts, said=said, each=True)
    if not kind.hw:
        return made
    lock = {"configMapKeyRef": {"name": sweep.target.semaphore, "key": kind.hw}}
    return {**made, "synchronization": {"semaphores": [lock]}}


def _leaderboard(sweep: Sweep) -> Object:
    where = prefix(sweep.name)
    boards = [_output(f"leaderboard-{kind}", f"leaderboard.{kind}", f"{where}/leaderboard.{kind}") for kind in BOARDS]
    artifacts = [*boards, _output("files", "files", f"{where}/files")]
    said = [{"name": PARTS, "valueFrom": {"path": f"{OUT}/{PARTS}"}}]
    taken = [_stored(sweep), {"name": "results", "path": RESULTS, "s3": {"key": where}}]
    words = ["do=leaderboard", f"results={RESULTS}"]
    return _template(sweep, plain(sweep.target), LEADERBOARD, words, taken=taken, artifacts=artifacts, said=said)


BOARDS = ("csv", "html", "txt")


def _results(sweep: Sweep, folder: str) -> Object:
    """A folder of the results, as one artifact; the first workflow of a sweep finds none."""
    key = f"{prefix(sweep.name)}/{folder}"
    return {"name": folder, "path": f"{RESULTS}/{folder}", "optional": True, "s3": {"key": key}}


def _output(name: str, file: str, key: str, *, optional: bool = False) -> Object:
    made = {"name": name, "path": f"{OUT}/{file}", "archive": {"none": {}}, "s3": {"key": key}}
    return {**made, "optional": True} if optional else made


def _template(
    sweep: Sweep,
    task: Task,
    name: str,
    words: Sequence[str],
    *,
    taken: Sequence[Object],
    artifacts: Sequence[Object] = (),
    said: Sequence[Object] = (),
    each: bool = False,
) -> Object:
    """A pod of the sweep; those of a list get their name."""
    target = sweep.target
    inputs: Object = {"artifacts": list(taken)}
    outputs = {key: list(value) for key, value in (("artifacts", artifacts), ("parameters", said)) if value}
    arguments = ["sweep-pod", *words, f"sweep={DEFINITION}", f"out={OUT}"]
    return {
        "name": name,
        "inputs": {**inputs, "parameters": [{"name": "name"}]} if each else inputs,
        "outputs": outputs,
        "metadata": {"labels": pods.labels(task.steps, name)},
        "container": pods.container(task, target, arguments),
        "volumes": pods.volumes(task),
        **pods.scheduling(task, target),
        "activeDeadlineSeconds": target.deadline_seconds,
        "retryStrategy": {
            "limit": target.retries,
            "expression": retries.EXPRESSION,
            "backoff": {"duration": f"{target.backoff_seconds}s", "factor": 2},
        },
    }


def plain(target: Argo) -> Task:
    """A pod that runs no step, in the image and with the resources of the steps that do not train."""
    requests, limits = target.requests, target.limits
    return Task((), (), "{}", (), target.image, requests, limits, None, target.runner, (), (), cached=False)
