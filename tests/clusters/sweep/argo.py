"""A stand-in of Argo that runs the pods of a sweep's workflow in this process, with a folder as artifact repository.

It takes from the workflow what Argo takes: the order of tasks, items, artifacts by key, and arguments.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tapeline.cli.main import main
from tests.clusters.submit.stand_in import times

Object = dict[str, Any]
WORK = "/workspace"


@dataclass
class Argo:
    """A controller; `lost` says which pods end without a trace, by the name of the task and its item."""

    folder: Path
    repository: Path
    lost: Callable[[str, str], bool] = lambda task, item: False
    ran: list[tuple[str, str]] = field(default_factory=list)
    """Task and item of each pod."""
    logs: dict[tuple[str, str], str] = field(default_factory=dict)

    def __call__(self, name: str, workflow: Object) -> None:
        """Run a workflow that was created, to its end, and write its status."""
        templates = {each["name"]: each for each in workflow["spec"]["templates"]}
        graph = templates[workflow["spec"]["entrypoint"]]
        nodes: dict[str, Object] = {}
        for task in graph["dag"]["tasks"]:
            items = task.get("withItems")
            if "withParam" in task:
                items = json.loads(_output(nodes, task["withParam"]))
            phases = [
                self._pod(name, task["name"], item, templates, nodes) for item in ([None] if items is None else items)
            ]
            if items is not None:
                phase = "Skipped" if not items else "Failed" if "Failed" in phases else "Succeeded"
                kind = "TaskGroup" if items else "Skipped"
                nodes[task["name"]] = _node(name, task["name"], kind, phase)
        end = nodes["leaderboard"]["phase"]
        nodes[name] = {"id": name, "displayName": name, "type": "DAG", "phase": end, **times()}
        workflow["metadata"] |= {"creationTimestamp": "2026-11-21T15:00:00Z"}
        workflow["status"] = {"phase": end, "nodes": nodes}

    def _pod(
        self, run: str, task: str, item: str | None, templates: dict[str, Object], nodes: dict[str, Object]
    ) -> str:
        template = json.loads(json.dumps(templates[task]).replace("{{inputs.parameters.name}}", item or ""))
        shown = task if item is None else f"{task}({sum(n.startswith(f'{task}(') for n in nodes)}:{item})"
        self.ran.append((task, item or ""))
        made: list[Object] = []
        phase = "Failed" if self.lost(task, item or "") else "Succeeded"
        if phase == "Succeeded":
            work = self.folder / f"pod-{len(self.ran)}"
            for each in template["inputs"]["artifacts"]:
                self._take(each, work)
            words = [word.replace(WORK, str(work)) for word in template["container"]["args"]]
            assert main(words) == 0, words
            made = list(self._keep(template["outputs"], work))
        nodes[shown] = _node(run, shown, "Pod", phase, made)
        return phase

    def _take(self, artifact: Object, work: Path) -> None:
        path = Path(artifact["path"].replace(WORK, str(work)))
        path.parent.mkdir(parents=True, exist_ok=True)
        if "raw" in artifact:
            path.write_text(artifact["raw"]["data"])
            return
        source = self.repository / artifact["s3"]["key"]
        if source.is_dir():
            shutil.copytree(source, path, dirs_exist_ok=True)
        elif source.exists():
            shutil.copyfile(source, path)
        else:
            assert artifact.get("optional"), artifact

    def _keep(self, outputs: Object, work: Path) -> Iterator[Object]:
        for each in outputs.get("artifacts", ()):
            path, target = Path(each["path"].replace(WORK, str(work))), self.repository / each["s3"]["key"]
            if not path.exists():
                assert each.get("optional"), each
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            else:
                shutil.copyfile(path, target)
        for each in outputs.get("parameters", ()):
            path = Path(each["valueFrom"]["path"].replace(WORK, str(work)))
            yield {"name": each["name"], "value": path.read_text()}


def _node(run: str, name: str, kind: str, phase: str, parameters: list[Object] | None = None) -> Object:
    base = {"id": f"{run}-{name}", "displayName": name, "type": kind, "phase": phase, "boundaryID": run, **times()}
    if phase == "Failed" and kind == "Pod":
        base |= {"message": "pod deleted"}
    return {**base, "outputs": {"parameters": parameters or []}}


def _output(nodes: dict[str, Object], reference: str) -> str:
    """The value of {{tasks.TASK.outputs.parameters.NAME}}."""
    _, task, _, _, name = reference.strip("{}").split(".")
    return next(str(each["value"]) for each in nodes[task]["outputs"]["parameters"] if each["name"] == name)
