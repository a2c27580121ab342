"""Runs of KFP for tests: workflows, artifacts, and the words of make submit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.clusters.submit.kfp_api import RUN, Backend, Look
from tests.clusters.submit.kfp_workflow import Graph
from tests.metrics_json import sample

RAN = {"dataset": {"name": "indices"}, "gate": {"metric": "accuracy"}}
METRICS = sample(reason="it is good", config=RAN)
REPORT = "<html>the report</html>"
PUBLISHED: dict[str, Any] = {"sentence": "published: indices version 7 is live", "name": "indices", "number": 7}
ALL = ("ingest", "features", "train", "export", "evaluate", "gate", "report", "publish")
PENDING = Look("PENDING")


def graph(*names: str) -> Graph:
    """A workflow with these tasks, which succeeded."""
    made = Graph()
    for name in names:
        made.task(name)
    return made


def keep(folder: Path, pipeline: str = "snp-flat-cpu", number: str = "8d1b", metrics: Any = METRICS) -> None:
    """Write artifacts where KFP's launcher does."""
    for name, content in (("gate/{}/metrics", json.dumps(metrics)), ("report/{}/report", REPORT),
                          ("publish/{}/published", json.dumps(PUBLISHED))):  # fmt: skip
        path = folder / "kept" / pipeline / RUN / name.format(number)
        path.parent.mkdir(parents=True)
        path.write_text(content)


def arguments(backend: Backend, *more: str) -> list[str]:
    there = ["target=kfp", f"target.address={backend.address}", f"target.artifacts=file://{Path.cwd()}/kept"]
    return ["submit", *there, "experiment=snp_flat", *more]


def listed(out: str) -> list[list[str]]:
    """The lines about tasks, each as its words."""
    return [line.split() for line in out.splitlines() if line.startswith("  ")]
