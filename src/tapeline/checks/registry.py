"""The rules of this folder, found by file name: a module with ABOUT and RULES takes part in every check.

ABOUT is one of SUBJECTS, which also says what a rule gets. A rule yields a Finding for each mistake.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from tapeline import files
from tapeline.errors import Finding

SUBJECTS = {
    "configuration": "a Config, before each run and build",
    "cluster": "a Config and its Cluster target, before each build",
    "graph": "the steps of graph.py",
    "object": "the Node of an emitted or rendered Kubernetes object",
    "workflow": "the Node of an Argo object",
    "pipeline": "a kfp.Pipeline",
    "pod": "a pods.Pod",
    "tree": "a references.Tree: all objects that are applied together",
    "image": "an images.Image: a Dockerfile",
}

Rule = Callable[..., Iterable[Finding]]


def rules(about: str) -> list[Rule]:
    """All rules about a subject, ordered by module.

    Raises:
        ValueError: a module is about a subject that does not exist.
    """
    package = __name__.rpartition(".")[0]
    found: list[Rule] = []
    for name in files.modules(package):
        module: Any = importlib.import_module(f"{package}.{name}")
        subject = getattr(module, "ABOUT", None)
        if subject not in (None, *SUBJECTS):
            raise ValueError(f"{module.__name__}: ABOUT={subject}; choose one of: {', '.join(SUBJECTS)}")
        if subject == about:
            found += module.RULES
    return found
