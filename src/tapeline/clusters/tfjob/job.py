"""The graph as one TFJob with one worker, like the original system.

    make build target=tfjob experiment=snp_deep       workflows/tfjob/snp-deep-cpu.yaml, for kubectl create -f

The worker runs `tapeline run` under the publisher's account. What it makes stays in its pod, but for
the version that it publishes; `make submit` reads metrics and report from its log.
"""

from __future__ import annotations

import yaml

from tapeline.clusters import pod_spec as pods
from tapeline.clusters.plan import Plan, whole


def emit(plan: Plan) -> dict[str, str]:
    """One file; it is written again for each run, since a finished job does not run again."""
    return {f"{plan.name}.yaml": yaml.safe_dump(job(plan), sort_keys=False, allow_unicode=True, width=120)}


def limits(plan: Plan) -> list[str]:
    """What a TFJob cannot do with the graph, and what happens instead."""
    return [f"all steps run in one pod with the account {plan.tasks[0].account}; their artifacts stay in that pod"]


def job(plan: Plan, *own: str) -> pods.Object:
    """The job itself.

    Args:
        plan: of which the whole graph is taken, whatever its tasks.
        own: keys of `tapeline run` beside the overrides.
    """
    target, task = plan.target, whole(plan)
    arguments = ["run", *map(pods.literal, task.overrides), pods.literal(f"built={task.built}"), *own]
    spec = {
        "serviceAccountName": task.account,
        "automountServiceAccountToken": False,
        "securityContext": pods.POD_SECURITY,
        **({"imagePullSecrets": [{"name": target.pull_secret}]} if target.pull_secret else {}),
        **pods.scheduling(task, target),
        "containers": [{"name": "tensorflow", **pods.container(task, target, arguments)}],
        "volumes": pods.volumes(task),
    }
    worker = {
        "replicas": 1,
        # killed by a signal: again; refused: not
        "restartPolicy": "ExitCode",
        "template": {"metadata": {"labels": {**pods.labels(task.steps, "run"), **SIDECAR}}, "spec": spec},
    }
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {"generateName": f"{plan.name}-", "namespace": target.namespace, "labels": pods.LABELS},
        "spec": {
            "runPolicy": {
                "cleanPodPolicy": "None",  # for its log
                "backoffLimit": target.retries,
                "activeDeadlineSeconds": target.deadline_seconds,
                "ttlSecondsAfterFinished": target.ttl_seconds,
            },
            "tfReplicaSpecs": {"Worker": worker},
        },
    }


SIDECAR = {"sidecar.istio.io/inject": "false"}
"""No sidecar of a service mesh: it would run on after the worker, and the job would never end."""
