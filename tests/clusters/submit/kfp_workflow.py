"""The Argo Workflow of a run in KFP 2.17, its tasks as the API returns them, and its cache: as on a real backend.

What KFP leaves out is left out here: errors and pod names of tasks are empty. What it adds is here: a driver for each
task, DAGs, `executor`, `executor(0)` and tasks without a name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import kfp_server_api as api

from tapeline import files

BEGUN = datetime(2026, 11, 21, 12, tzinfo=UTC)
DRIVER, DAG_DRIVER = "system-container-driver", "system-dag-driver"
EXECUTOR, IMPL = "metadata-0-4-retry-system-container-executor", "metadata-0-4-retry-system-container-impl"
STATES = {
    "Pending": "PENDING",
    "Running": "RUNNING",
    "Succeeded": "SUCCEEDED",
    "Skipped": "SKIPPED",
    "Failed": "FAILED",
    "Error": "FAILED",
    "Omitted": "RUNTIME_STATE_UNSPECIFIED",
}
"""What KFP makes of a node's phase."""
Outcome = tuple[str, str]
"""Phase and message of a pod."""
FINE: Outcome = ("Succeeded", "")


@dataclass
class Graph:
    """The nodes of a workflow, which methods add."""

    name: str = "snp-flat-cpu-x7k2p"
    namespace: str = "kubeflow"
    stopped: bool = False
    message: str = ""
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def node(self, name: str, kind: str, phase: str, message: str = "", template: str = "", within: str = "") -> str:
        """Add a node; each begins a second after the one before and takes twelve. Returns its id."""
        number = len(self.nodes) + 1
        begun = BEGUN + timedelta(seconds=number)
        self.nodes[f"{self.name}-{number}"] = {
            "id": f"{self.name}-{number}",
            "displayName": name,
            "type": kind,
            "phase": phase,
            "templateName": template,
            "startedAt": f"{begun:%Y-%m-%dT%H:%M:%SZ}",
            **({"message": message} if message else {}),
            **({"boundaryID": within} if within else {}),
            **({"finishedAt": f"{begun + timedelta(seconds=12):%Y-%m-%dT%H:%M:%SZ}"} if phase not in OPEN else {}),
        }
        return f"{self.name}-{number}"

    def task(self, name: str, *pods: Outcome, driver: Outcome = FINE, cached: bool = False) -> Graph:
        """Add a task whose pods ended, or are, like this; by default one that succeeded."""
        self.node(f"{name}-driver", "Pod", *driver, template=DRIVER)
        if driver[0] != "Succeeded":
            if driver[0] in ("Failed", "Error"):
                self.node(name, "Skipped", "Omitted", f"omitted: '{name}-driver.Succeeded' is false")
            return self
        pods = pods or (FINE,)
        phase = {"Pending": "Running"}.get(pods[-1][0], pods[-1][0])
        dag = self.node(name, "DAG", "Succeeded" if cached else phase, template=EXECUTOR)
        if cached:
            self.node("executor", "Skipped", "Skipped", "when 'true != true' evaluated false", IMPL, dag)
            return self
        self.node("executor", "Retry", phase, "", IMPL, dag)
        for number, each in enumerate(pods):
            self.node(f"executor({number})", "Pod", *each, template=IMPL, within=dag)
        return self

    def omitted(self, *names: str) -> Graph:
        """Add tasks that never ran, because an earlier one failed."""
        for name in names:
            self.node(f"{name}-driver", "Skipped", "Omitted")
            self.node(name, "Skipped", "Omitted")
        return self

    def rejected(self) -> Graph:
        """Add the condition of publish as not met."""
        self.node("publish-if-accepted-driver", "Pod", *FINE, template=DAG_DRIVER)
        self.node("publish-if-accepted", "DAG", "Succeeded")
        self.node("condition-1-driver", "Pod", *FINE, template=DAG_DRIVER)
        self.node("condition-1", "Skipped", "Skipped", "when 'false != false' evaluated false")
        return self

    def pod(self, task: str) -> str:
        """The name of the last pod of a task, or of the driver of this name."""
        dag = next((each for each in self.nodes.values() if each["displayName"] == task), {})
        pods = [
            each for each in self.nodes.values() if each["type"] == "Pod" and each.get("boundaryID") == dag.get("id")
        ]
        found = [
            *(each for each in self.nodes.values() if each["displayName"] == task and each["type"] == "Pod"),
            *pods,
        ]
        return f"{self.name}-{found[-1]['templateName']}-{found[-1]['id'].rpartition('-')[2]}"

    def manifest(self) -> str:
        """The whole workflow, as KFP stores it."""
        spec = {"activeDeadlineSeconds": 0} if self.stopped else {}
        about = {"name": self.name, "namespace": self.namespace}
        return json.dumps({"metadata": about, "spec": spec, "status": {"message": self.message, "nodes": self.nodes}})

    def details(self) -> list[api.V2beta1PipelineTaskDetail]:
        """Its nodes as tasks."""
        root = api.V2beta1PipelineTaskDetail(display_name="", state="RUNNING", create_time=BEGUN, start_time=BEGUN)
        return [root, *(_detail(each) for each in self.nodes.values())]


OPEN = ("Pending", "Running")


def _detail(node: Mapping[str, Any]) -> api.V2beta1PipelineTaskDetail:
    done = node.get("finishedAt")
    begun = datetime.fromisoformat(node["startedAt"])
    return api.V2beta1PipelineTaskDetail(
        display_name=node["displayName"],
        state=STATES[node["phase"]],
        create_time=begun,
        start_time=begun,
        end_time=datetime.fromisoformat(done) if done else None,
        pod_name="",
    )


@dataclass
class Cache:
    """KFP's cache of executions: a key is made of what a task takes and runs, as KFP's driver makes it."""

    artifacts: dict[str, dict[str, str]] = field(default_factory=dict)
    """The ids of what a task made, by key."""
    made: int = 0

    def run(self, spec: Mapping[str, Any], parameters: Mapping[str, str]) -> Graph:
        """Run a compiled pipeline, in which everything succeeds and the model is accepted."""
        graph = Graph()
        defaults = spec["root"]["inputDefinitions"].get("parameters", {})
        given = {name: parameters.get(name, each.get("defaultValue")) for name, each in defaults.items()}
        self._dag(graph, spec, spec["root"]["dag"]["tasks"], given, {})
        return graph

    def _dag(
        self,
        graph: Graph,
        spec: Mapping[str, Any],
        tasks: Mapping[str, Any],
        given: Mapping[str, Any],
        taken: Mapping[str, str],
    ) -> None:
        """Run the tasks of a DAG with its inputs: parameters, and ids of artifacts."""
        made: dict[tuple[str, str], str] = {}
        waiting = dict(tasks)
        while waiting:
            name = next(
                each for each, task in waiting.items() if not set(task.get("dependentTasks", [])) & set(waiting)
            )
            task = waiting.pop(name)
            component = spec["components"][task["componentRef"]["name"]]
            values = {key: _value(each, given) for key, each in task.get("inputs", {}).get("parameters", {}).items()}
            artifacts = {
                key: _artifact(each, taken, made) for key, each in task.get("inputs", {}).get("artifacts", {}).items()
            }
            if "dag" in component:
                self._dag(graph, spec, component["dag"]["tasks"], values, artifacts)
                continue
            cached, ids = self._execute(spec, task, component, values, artifacts)
            made |= {(name, key): each for key, each in ids.items()}
            graph.task(name, cached=cached)

    def _execute(
        self,
        spec: Mapping[str, Any],
        task: Mapping[str, Any],
        component: Mapping[str, Any],
        values: Mapping[str, Any],
        artifacts: Mapping[str, str],
    ) -> tuple[bool, dict[str, str]]:
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        outputs = component.get("outputDefinitions", {})
        run = [container["image"], container["command"], container["args"]]
        key = files.digest(json.dumps([artifacts, values, outputs, run], sort_keys=True))
        if task["cachingOptions"].get("enableCache") and key in self.artifacts:
            return True, self.artifacts[key]
        names: Sequence[str] = list(outputs.get("artifacts", {}))
        ids = {name: str(self.made + number) for number, name in enumerate(names, start=1)}
        self.made += len(ids)
        self.artifacts[key] = ids
        return False, ids


def _value(source: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    if "componentInputParameter" in source:
        return given[source["componentInputParameter"]]
    return source.get("runtimeValue", source.get("taskOutputParameter", {}).get("outputParameterKey"))


def _artifact(source: Mapping[str, Any], taken: Mapping[str, str], made: Mapping[tuple[str, str], str]) -> str:
    if "componentInputArtifact" in source:
        return taken[source["componentInputArtifact"]]
    of = source["taskOutputArtifact"]
    return made[of["producerTask"], of["outputArtifactKey"]]
