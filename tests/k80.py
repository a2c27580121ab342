"""The K80's TensorFlow 2.14 runs the whole graph for every family; 2.20 exports, loads and serves what it fits.

make test-k80
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline import tensorflow as tf
from tapeline.models import fitted as fits
from tapeline.serving import saved_model as servable
from tapeline.tables import predictions
from tapeline.tables.table import open_table
from tapeline.tables.windows import rows_of
from tests.conftest import ROOT, artifact, metrics, subprocess_tapeline
from tests.faces import TINY

K80 = ROOT / ".venv-k80" / "bin" / "tapeline"


def k80(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([K80, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def answers(folder: Path, run: Path) -> dict[str, Any]:
    """What a servable says here about the run's test rows."""
    table = open_table(artifact(run, "table", folder_of_cache(run)))
    window = fits.read(run / "fitted.json").windows[-1]
    features = table.read(("feature",), rows_of(window, table, "test"))["feature"]
    return servable.load(folder)(features.reshape(len(features), -1).astype(np.float32))


def folder_of_cache(run: Path) -> Path:
    return run.resolve().parents[1] / ".tapeline" / "cache"


ANY = ["hw=gpu", "gate=default", "gate.threshold=null", "gate.baseline_margin=null"]
"""Overrides of a run that is accepted, whatever it learnt."""
CLOSE = 1e-4
"""Relative difference of the gate's metric between the same run on 2.14 and 2.20; the docs state it."""
RUNS = {
    **{f"indices-{family}": [f"model={family}"] for family in ("flat", "deep", "lightgbm")},
    "bitcoin": ["dataset=bitcoin", "model=deep", "model.steps=200"],
    "gresearch": [
        "dataset=gresearch",
        "dataset.rows=60000",
        "dataset.assets=[1]",
        "split.train=1d",
        "split.test=1d",
        "model=deep",
        "model.steps=50",
    ],
    "faces": [key for key in TINY if not key.startswith("gate")],
}


@pytest.mark.parametrize("keys", RUNS.values(), ids=RUNS.keys())
def test_what_2_14_fits_is_exported_loaded_and_answers_the_same_in_2_20(keys: list[str], folder: Path) -> None:
    done = k80("run", *keys, *ANY, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    run = folder / "runs" / "latest"
    assert json.loads((run / "run.json").read_text())["versions"]["tensorflow"] == "2.14.1"
    assert tf.load().__version__ == "2.20.0"
    whole = predictions.read(run / "predictions.parquet")
    predicted = whole.take(whole.rows["window"] == whole.rows["window"].max()).scored
    fitted = artifact(run, "fitted", folder_of_cache(run))
    paths = ["--in", f"sample={run}/sample.parquet", "--in", f"fitted={fitted}", "--out", "servable=again"]
    again = subprocess_tapeline("step", "export", *keys, *paths, cwd=folder)
    assert (again.returncode, again.stderr) == (0, "")
    (published,) = (folder / "store").glob("*/1")
    for made in (run / "servable", folder / "again", published):
        servable.verify(made)
        said = answers(made, run)
        for output in said.keys() & predicted.keys():
            np.testing.assert_allclose(said[output], predicted[output], rtol=1e-6, atol=1e-6)
        assert servable.read_metadata(made)["model_version"] == metrics(folder)["model_version"]
    first = metrics(folder)
    done = subprocess_tapeline("run", *keys, *ANY, "publish=false", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    metric, second = first["gate"]["metric"], metrics(folder)
    assert second["trained"]["tensorflow"] == "2.20.0" or second["trained"]["tensorflow"] is None
    scores = [record["test"]["overall"][metric] for record in (first, second)]
    print(metric, *scores)
    assert scores[1] == pytest.approx(scores[0], rel=CLOSE)


def test_the_protobuf_modules_are_read_by_both() -> None:
    ask = "from tapeline.serving.protos import tf_serving_pb2; print(tf_serving_pb2.DESCRIPTOR.package)"
    for python in (K80.with_name("python"), Path(sys.executable)):
        done = subprocess.run([python, "-W", "error", "-c", ask], capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.stderr) == ("tapeline.serving", "")


def test_the_published_result_on_2_14(folder: Path, closing_data: Path) -> None:
    data = ["dataset.source=csv", f"dataset.path={closing_data}"]
    done = k80("run", "experiment=snp_flat", "hw=gpu", *data, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert metrics(folder)["test"]["overall"]["confusion"] == {"tp": 32, "fp": 3, "fn": 112, "tn": 141}
    trace = [round(point["score"], 6) for point in metrics(folder)["train"]["trace"]]
    assert trace == [0.560764, 0.575521, 0.594618, 0.614583, 0.630208, 0.644965]
