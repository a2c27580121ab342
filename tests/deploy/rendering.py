"""What kubectl makes of the Kustomize tree, without a cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tapeline import files
from tests.conftest import ROOT

TREE = ROOT / "deploy" / "kustomize"
BASE = TREE / "base"
COMPONENTS = sorted(path.name for path in (TREE / "components").iterdir())
OVERLAYS = sorted(path.name for path in (TREE / "overlays").iterdir() if path.is_dir())
COMBINATIONS = sorted(path.name for path in (TREE / "tests").iterdir())

Document = dict[str, Any]


def render(folder: Path) -> list[Document]:
    """The objects of a folder; a warning counts as a failure."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not here; it renders the tree")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return files.yaml_documents(done.stdout)


def overlay(folder: Path, components: Sequence[str] = (), base: Path = BASE, **more: Any) -> Path:
    """An overlay of our own in an empty folder."""
    where = {name: os.path.relpath(path, folder) for name, path in (("base", base), ("tree", TREE))}
    about = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "tapeline",
        "resources": [where["base"]],
        "components": [f"{where['tree']}/components/{name}" for name in components],
        **more,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(about))
    return folder


def one(documents: Sequence[Document], kind: str, name: str) -> Document:
    """The object of a kind and name."""
    return next(each for each in documents if (each["kind"], each["metadata"]["name"]) == (kind, name))
