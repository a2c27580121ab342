"""A small regression dataset, found as if it lay in the package: see tests/toys."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tapeline import datasets, tasks
from tests.conftest import ROOT

TOYS = ROOT / "tests" / "toys"
MODEL = ["dataset=toy", "model=flat", "model.steps=300", "model.report_every=100", "model.learning_rate=0.01"]
"""What learns it well in a second."""
OPTION = """# {about}
defaults:
  - override /split@_global_.split: chronological
  - override /gate@_global_.gate: default

name: {name}
source: simulated
path: null
seed: 0
"""


@contextmanager
def installed(folder: Path) -> Iterator[Path]:
    """The datasets `toy` and `traded`, with a conf/ in the folder that has both."""
    conf = folder / "conf"
    shutil.copytree(ROOT / "conf", conf)
    for name in ("toy", "traded"):
        text = OPTION.format(name=name, about="A regression of a simulated series.")
        (conf / "dataset" / f"{name}.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAPELINE_CONF", str(conf))
        patch.setattr(datasets, "__path__", [*datasets.__path__, str(TOYS / "datasets")])
        patch.setattr(tasks, "__path__", [*tasks.__path__, str(TOYS / "tasks")])
        try:
            yield conf
        finally:
            for name in ("datasets.toy", "datasets.traded", "tasks.profit"):
                sys.modules.pop(f"tapeline.{name}", None)
