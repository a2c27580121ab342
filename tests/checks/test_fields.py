"""The schemas of custom kinds, and the one place that names Argo's version."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tapeline.checks import fields
from tapeline.checks.nodes import Node
from tapeline.clusters import releases
from tests.conftest import ROOT

CRON = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "CronWorkflow",
    "metadata": {"name": "x", "annotations": {"a": "b"}},
    "spec": {"schedules": ["30 17 * * 1-5"], "workflowSpec": {"workflowTemplateRef": {"name": "x"}}},
}


def findings(document: object) -> list[str]:
    return [str(each) for each in fields.fields_fit_their_schema(Node(json.loads(json.dumps(document)), "x.yaml"))]


def test_there_is_a_schema_for_each_custom_kind() -> None:
    folder = Path(fields.__file__).with_name("schemas")
    assert {path.name for path in folder.iterdir()} == {f"{kind.lower()}s.json.gz" for kind in fields.CUSTOM}


def test_all_mistakes_of_an_object_are_found_at_once() -> None:
    assert findings(CRON) == []
    wrong = {**CRON, "metadata": {"nam": "x"}, "spec": {"schedules": "30 17 * * *", "workflowSpecs": {}}}
    assert {line.partition(";")[0] for line in findings(wrong)} == {
        "x.yaml: metadata.nam: there is no such field",
        'x.yaml: spec.schedules: must be of type array, and is "30 17 * * *"',
        "x.yaml: spec.workflowSpecs: there is no such field",
        "x.yaml: spec.workflowSpec: is missing",
    }


def test_a_field_of_a_later_minor_version_is_refused() -> None:
    template = {"name": "x", "podResources": {}}
    wrong = {**CRON, "kind": "WorkflowTemplate", "spec": {"templates": [template]}}
    [line] = findings(wrong)
    assert line.startswith("x.yaml: spec.templates[x].podResources: there is no such field")


def test_kinds_without_a_published_schema_pass() -> None:
    monitor = {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {}, "spec": 1}
    assert findings(monitor) == []


def test_argos_version_stands_in_one_place() -> None:
    minor = releases.ARGO.rpartition(".")[0]
    assert releases.ARGO_SCHEMAS.rpartition(".")[0] == minor
    assert minor in re.findall(r"Argo(?:\s+Workflows)?\s+v?(\d+\.\d+)", (ROOT / "README.md").read_text())
    paths = [path for folder in ("src", "deploy", "conf") for path in (ROOT / folder).rglob("*") if path.is_file()]
    paths = [path for path in paths if path.parent.name != "__pycache__"]
    named = {path.name for path in paths if releases.ARGO.encode() in path.read_bytes()}
    assert named == {"releases.py"}
