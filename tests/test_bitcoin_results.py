"""The bitcoin system on the real file: a forecast that is rejected, and a leak that is not."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline import files
from tapeline.cli import main as cli
from tapeline.serving import saved_model
from tapeline.serving.servers.server import follow_store
from tapeline.tables import raw as raws
from tapeline.tables import windows
from tapeline.tables.table import open_table
from tests.conftest import artifact
from tests.serving.servables import http, running, until

pytestmark = pytest.mark.results

HIGHEST = 1274.99
"""Of the closes that train: USD."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, crypto_markets: Path) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("bitcoin")
    with chdir(folder):
        yield folder


def run(place: Path, crypto_markets: Path, *overrides: str) -> dict[str, Any]:
    """metrics.json of a run on the real file."""
    source = ["dataset.source=csv", f"dataset.path={crypto_markets}"]
    assert cli.main(["run", *overrides, *source]) == 0
    metrics: dict[str, Any] = files.read_json(place / "runs" / "latest" / "metrics.json")
    return metrics


@pytest.mark.parametrize("experiment", ["bitcoin_dnn", "bitcoin_lightgbm"])
def test_no_model_leads_persistence_by_more_than_chance(place: Path, crypto_markets: Path, experiment: str) -> None:
    metrics = run(place, crypto_markets, f"experiment={experiment}")
    assert metrics["gate"]["accepted"] is False
    assert sum(metrics["data"]["rows"].values()) in (1784, 1783), "of 1,785 rows the purge drops one before each side"
    assert metrics["data"]["rows"]["test"] == 357
    baselines = {name: each["rmse"] for name, each in metrics["baselines"].items()}
    assert baselines["persistence"] == pytest.approx(525.09, abs=0.01)
    assert min(baselines, key=lambda name: baselines[name]) == "persistence"
    assert metrics["test"]["overall"]["rmse"] > 500, "far below persistence would be a leak"


@pytest.mark.parametrize(
    "model",
    [
        ["experiment=bitcoin_same_day"],
        ["dataset=bitcoin", "dataset.target=same_day", "model=flat", "gate.baseline_margin=0"],
        ["dataset=bitcoin", "dataset.target=same_day", "model=lightgbm", "gate.confidence=null"],
    ],
    ids=["deep", "flat", "lightgbm"],
)
def test_the_same_day_beats_the_middle_of_high_and_low(place: Path, crypto_markets: Path, model: list[str]) -> None:
    metrics = run(place, crypto_markets, *model)
    baselines = {name: each["rmse"] for name, each in metrics["baselines"].items()}
    assert (baselines["open"], baselines["(high+low)/2"]) == pytest.approx((523.80, 252.35), abs=0.01)
    assert metrics["test"]["overall"]["rmse"] < baselines["(high+low)/2"]
    assert metrics["data"]["note"].startswith("Leak")


def test_served_candles_answer_for_every_test_row_and_a_date_with_a_price(
    place: Path, crypto_markets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(place, crypto_markets, "experiment=bitcoin_dnn", "gate.baseline_margin=null", "gate.confidence=null")
    latest, cache = place / "runs" / "latest", place / ".tapeline" / "cache"
    table = open_table(artifact(latest, "table", cache))
    window = windows.read(files.read_json(latest / "fitted.json")["windows"][0])
    found = table.read(("feature", "time"), windows.rows_of(window, table, "test"))
    frame = raws.read(artifact(latest, "raw", cache))
    days = frame["date"].to_numpy()
    at = np.searchsorted(days, found["time"].astype("datetime64[D]"))[:, None] + np.arange(-7, 1)
    inputs = {"time": days.astype("datetime64[D]").astype(np.int64)[at]}
    inputs |= {
        name: frame[name].fill_null(0).to_numpy()[at].astype(np.float64)
        for name in ("open", "high", "low", "close", "volume")
    }
    expected = saved_model.load(latest / "servable")(found["feature"])["prediction"]
    answers = saved_model.load(latest / "servable", "candles")(inputs)
    assert len(expected) == 357
    np.testing.assert_allclose(answers["prediction"], expected, rtol=1e-6, atol=1e-10)
    assert frame["close"].to_numpy()[: at.min() + 8].max() == pytest.approx(HIGHEST)
    with running(follow_store(f"{place}/store")) as server:
        until(lambda: http(server.rest_port, "/v1/models/bitcoin/metadata")[0] == 200)
        ports = [f"serving.grpc_port={server.grpc_port}", f"serving.rest_port={server.rest_port}"]
        source = ["dataset.source=csv", f"dataset.path={crypto_markets}"]
        capsys.readouterr()
        assert cli.main(["predict", "json=true", "dataset=bitcoin", *source, *ports, "date=2018-03-24"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (answer["forecast_for"], answer["last_price"]) == ("2018-03-25", 8668.12)
    assert 8000 < answer["price"] < 9500


MEASURE = """
import re, sys
from pathlib import Path
from tapeline.cli.main import main
words = ["dataset=bitcoin", "dataset.source=csv", "dataset.path=" + sys.argv[1]]
code = main(["step", "ingest", *words, "--out", "raw=raw"])
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
sys.exit(code)
"""
"""Not ru_maxrss, which begins with the peak of the process that starts this one."""


def test_a_file_of_50_mb_is_scanned(tmp_path: Path, crypto_markets: Path) -> None:
    """Copies of the other coins, and bitcoin once."""
    header, *lines = gzip.decompress(crypto_markets.read_bytes()).decode().splitlines(keepends=True)
    lines[-1] = lines[-1].rstrip("\n") + "\n"
    others = "".join(line for line in lines if not line.startswith("bitcoin,"))
    with open(tmp_path / "large.csv", "w") as file:
        file.write(header)
        file.write("".join(line for line in lines if line.startswith("bitcoin,")))
        for _ in range(21):
            file.write(others)
    assert (tmp_path / "large.csv").stat().st_size > 50e6
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "large.csv")],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < 300
    assert len(raws.read(tmp_path / "raw")) == 1793
