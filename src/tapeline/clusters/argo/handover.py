"""A small workflow that writes the files of another run to its log, where `make submit` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapeline.clusters import pod_spec as pods
from tapeline.clusters.argo.retries import templates
from tapeline.clusters.argo.template import EXECUTOR_SECURITY, IN, SUMMARY, small
from tapeline.config.schema import Argo

Object = Mapping[str, Any]

FILES = "files"
"""The name of its template."""


def workflow(run: str, ran: Object, keys: Mapping[str, str], target: Argo, seconds: int) -> Object:
    """The workflow; it has account and image of the run itself.

    Args:
        run: the name of the run.
        ran: its workflow.
        keys: the keys of its artifacts, by file.
        target: of the configuration, for what a run of another tapeline does not say.
        seconds: after which it ends.
    """
    spec = {**ran.get("status", {}).get("storedWorkflowTemplateSpec", {}), **ran.get("spec", {})}
    images = {each["name"]: each["container"]["image"] for each in templates(ran) if "container" in each}
    image = images.get(SUMMARY, next(iter(images.values()), target.image))  # not the large one of a GPU
    task = small(target, image)
    words = ["summary", f"files={','.join(f'{IN}/{file}' for file in keys)}"]
    container = pods.container(task, target, words)
    taken = [{"name": Path(file).stem, "path": f"{IN}/{file}", "s3": {"key": key}} for file, key in keys.items()]
    template = {
        "name": FILES,
        "metadata": {"labels": pods.labels(task.steps, FILES)},
        "inputs": {"artifacts": taken},
        "container": container,
        "volumes": pods.volumes(task),
    }
    kept = ("serviceAccountName", "imagePullSecrets", "securityContext", "podSpecPatch", "automountServiceAccountToken")
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": f"{run}-files-", "labels": pods.LABELS},
        "spec": {
            "serviceAccountName": target.runner,
            "securityContext": pods.POD_SECURITY,
            "podSpecPatch": EXECUTOR_SECURITY,
            **{key: spec[key] for key in (*kept, "executor") if key in spec},
            "entrypoint": FILES,
            "templates": [template],
            "activeDeadlineSeconds": seconds,
            "ttlStrategy": {"secondsAfterCompletion": 600},
            "podGC": {"strategy": "OnWorkflowCompletion", "deleteDelayDuration": "600s"},
        },
    }
