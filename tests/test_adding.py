"""A new family is one module and one short file; nothing else changes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tapeline import models
from tests.conftest import ROOT, Tapeline, metrics, steps

MODULE = '''
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
OPTION = """# The share of falls, whatever the markets did.
family: share
steps: 1
report_every: 1
floor: 0.1
"""


def test_a_fourth_family_is_one_module_and_one_file(
    tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / "conf" / "model" / "share.yaml").write_text(OPTION)
    (folder / "modules").mkdir()
    (folder / "modules" / "share.py").write_text(MODULE)
    monkeypatch.setenv("TAPELINE_CONF", str(folder / "conf"))
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(folder / "modules")])
    try:
        code, _, err = tapeline("run", "model=share", "gate.threshold=0", "gate.baseline_margin=null")
        assert (code, err) == (0, "")
        told = metrics(folder)
        assert told["ran"]["model"] == "share"
        assert told["test"]["overall"]["accuracy"] == told["baselines"]["majority"]["accuracy"]
        assert steps(folder)["publish"] == "ran"
        code, _, err = tapeline("run", "model=share", "model.flor=1")
        assert (code, err) == (2, "tapeline: model.flor: unknown key; did you mean floor?\n")
        code, out, _ = tapeline("sweep", "model=flat,share", "model.steps=1", "model.report_every=1")
        assert (code, out.count("accuracy")) == (0, 2)
    finally:
        sys.modules.pop("tapeline.models.share", None)
