"""Each addition is one module and at most one file of conf/; nothing else changes. See also tests/toys."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from tapeline import lookup
from tapeline.checks.registry import rules
from tests import toy
from tests.conftest import ROOT, Tapeline, metrics, steps

SMALL = ["model=flat", "model.steps=20", "model.report_every=20", "gate.threshold=0", "gate.baseline_margin=null"]
FAMILY = '''
"""Predicts the share of each class among the training rows."""
import json

import numpy as np

from tapeline import tensorflow as tf
from tapeline.config import schema
from tapeline.models import Point


class Section(schema.Model):
    floor: float


def supports(spec):
    return None


def fit(section, train, validation, training):
    share = max(float(train.target.mean()), section.floor)
    return share, [Point(section.steps, float(np.mean(train.target == (share > 0.5))))]


def predict(model, features):
    down = np.full(len(features), model)
    return {"prediction": (down > 0.5).astype(np.int64), "probability": np.stack([1 - down, down], axis=1)}


def save(model, folder):
    (folder / "share.json").write_text(json.dumps(model))


def load(folder, task):
    return json.loads((folder / "share.json").read_text())


def servable(model):
    tensorflow = tf.load()

    class Module(tensorflow.Module):
        def __call__(self, predictors):
            down = tensorflow.fill([tensorflow.shape(predictors)[0]], tensorflow.constant(model, tensorflow.float64))
            probability = tensorflow.stack([1 - down, down], axis=1)
            return {"prediction": tensorflow.argmax(probability, 1), "probability": probability}

    return Module()
'''
FAMILY_OPTION = """# The share of falls, whatever the markets did.
family: share
steps: 1
report_every: 1
floor: 0.1
"""
SOURCE = '''
"""Prices that somebody recorded."""
READS = ()


def read(dataset, simulate, folder):
    return simulate(7).lazy(), "the recording"


def check(dataset):
    return ()


def seen(dataset, known=None):
    return "recording 7"
'''
SPLIT = '''
"""split=halves: the first half trains, the second tests."""
import numpy as np

from tapeline.tables.splits.base import Timed, windows

ROLE = "time"


class Section(Timed):
    least: int


def divide(split, values, purge, share):
    cut = len(values) // 2
    return windows(split, values, [(np.arange(cut), np.arange(cut, len(values)))], purge, share)
'''
SPLIT_OPTION = """# Half and half.
name: halves
least: 1
validation: null
purge: null
"""
CHECK = '''
"""A rule about the seed."""
from tapeline.errors import Finding

ABOUT = "configuration"


def seed_is_even(config):
    if config.seed % 2:
        yield Finding(f"seed={config.seed}", "is odd", "choose an even one, for example 2")


RULES = (seed_is_even,)
'''
COMMAND = '''
"""Counts the options of a group: tapeline count group=model"""
from tapeline.commands import Option

HELP = "count the options of a group"
OPTIONS = (Option("group", "GROUP", "a folder of conf/"),)
READS = ()
EXAMPLES = (("tapeline count group=hw", "counts hardware profiles"), ("tapeline count group=model", "counts models"))


def run(overrides, options):
    from tapeline.config.compose import options as listed

    print(len(listed(options["group"])))
'''
PROFILE = """# A GPU that this project has not seen.
defaults:
  - gpu-l4

name: gpu-new
accelerator:
  model: nvidia-new
  node_selector:
    cloud.google.com/gke-accelerator: nvidia-b200
"""
Add = Callable[..., None]


@pytest.fixture
def add(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """Put a module into a package, and a file into a copy of conf/ that is used from then on."""
    shutil.copytree(ROOT / "conf", folder / "conf")
    monkeypatch.setenv("TAPELINE_CONF", str(folder / "conf"))
    names = []

    def put(package: str, name: str, module: str, option: str = "") -> None:
        place = folder / "modules" / package
        place.mkdir(parents=True)
        (place / f"{name}.py").write_text(module)
        parent = import_module(f"tapeline.{package}")
        monkeypatch.setattr(parent, "__path__", [*parent.__path__, str(place)])
        names.append(f"tapeline.{package}.{name}")
        if option:
            group = {"models": "model", "tables.splits": "split"}[package]
            (folder / "conf" / group / f"{name}.yaml").write_text(option)

    yield put
    for name in names:
        sys.modules.pop(name, None)


def builds(tapeline: Tapeline, folder: Path, *overrides: str) -> list[str]:
    """What Argo and KFP get for these overrides."""
    texts = []
    for target in ("argo", "kfp"):
        code, _, err = tapeline("build", f"target={target}", *overrides)
        assert code == 0, err
        texts += [path.read_text() for path in (folder / "workflows" / target).glob("*.yaml")]
        assert all(list(yaml.safe_load_all(text)) for text in texts)
    return texts


def test_a_family(tapeline: Tapeline, folder: Path, add: Add) -> None:
    add("models", "share", FAMILY, FAMILY_OPTION)
    code, _, err = tapeline("run", "model=share", "gate.threshold=0", "gate.baseline_margin=null")
    assert (code, err) == (0, "")
    record = metrics(folder)
    assert record["ran"]["model"] == "share"
    assert record["test"]["overall"]["accuracy"] == record["baselines"]["majority"]["accuracy"]
    assert steps(folder)["publish"] == "ran"
    code, _, err = tapeline("run", "model=share", "model.flor=1")
    assert (code, err) == (2, "tapeline: model.flor: unknown key; did you mean floor?\n")
    code, out, _ = tapeline("sweep", "model=flat,share", "model.steps=1", "model.report_every=1")
    assert (code, out.count("accuracy")) == (0, 2)
    assert any("model=share" in text for text in builds(tapeline, folder, "model=share"))


def test_a_source(tapeline: Tapeline, folder: Path, add: Add, without_report: None) -> None:
    add("datasets.sources", "recorded", SOURCE)
    assert "recorded" in lookup.sources()
    code, _, err = tapeline("run", *SMALL, "dataset.source=recorded")
    assert (code, err) == (0, "")
    assert (metrics(folder)["data"]["source"], metrics(folder)["data"]["simulated"]) == ("recorded", False)
    code, _, err = tapeline("run", *SMALL, "dataset.source=recorded", "dataset.path=x.csv")
    assert (code, "dataset.path=x.csv: is not read" in err) == (2, True)
    assert any("dataset.source=recorded" in text for text in builds(tapeline, folder, "dataset.source=recorded"))


def test_a_split(tapeline: Tapeline, folder: Path, add: Add, without_report: None) -> None:
    add("tables.splits", "halves", SPLIT, SPLIT_OPTION)
    code, _, err = tapeline("run", *SMALL, "split=halves")
    assert (code, err) == (0, "")
    rows = metrics(folder)["data"]["rows"]
    assert abs(rows["train"] - rows["test"]) <= 1
    code, _, err = tapeline("run", *SMALL, "split=halves", "split.least=some")
    assert (code, err.startswith("tapeline: split.least='some': ")) == (2, True)
    assert any("split=halves" in text for text in builds(tapeline, folder, "split=halves"))


def test_a_check(tapeline: Tapeline, add: Add) -> None:
    assert "seed_is_even" not in {rule.__name__ for rule in rules("configuration")}
    add("checks", "parity", CHECK)
    expected = "tapeline: seed=3: is odd; choose an even one, for example 2\n"
    assert tapeline("run", *SMALL, "seed=3") == (2, "", expected)
    assert tapeline("build", "target=argo", "seed=3") == (2, "", expected)


def test_a_command(tapeline: Tapeline, add: Add) -> None:
    add("commands", "count", COMMAND)
    code, out, _ = tapeline("count", "group=model")
    assert (code, int(out) >= 3) == (0, True)
    assert "count the options of a group" in tapeline("--help")[1]
    assert "tapeline count group=hw" in tapeline("count", "--help")[1]
    assert (
        "tapeline count --help" in tapeline("count", "grup=model")[2]
        or "did you mean group?" in tapeline("count", "grup=model")[2]
    )


def test_a_gpu_profile(tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / "conf" / "hw" / "gpu-new.yaml").write_text(PROFILE)
    monkeypatch.setenv("TAPELINE_CONF", str(folder / "conf"))
    assert any("nvidia-b200" in text for text in builds(tapeline, folder, "hw=gpu-new"))


def test_a_dataset_and_a_task(tapeline: Tapeline, folder: Path) -> None:
    """tests/test_regression.py runs them; here a cluster gets them."""
    with toy.installed(folder):
        assert any(
            "dataset=traded" in text
            for text in builds(tapeline, folder, "dataset=traded", "model=flat", "target.parameters=[seed]")
        )
