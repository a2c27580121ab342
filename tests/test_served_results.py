"""Models of each family behind the server; those published: 2014-08-12, a fall, which only Deep forecasts."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tapeline.cli import main as cli
from tapeline.datasets.indices import CLOSES
from tapeline.datasets.indices.simulation import simulate
from tapeline.serving.servers.server import Server, follow_store
from tapeline.tables.table import open_table
from tests.conftest import Tapeline, artifact, metrics, steps
from tests.serving.servables import running, until

NAMES = ("flat", "deep", "lightgbm")
DAY = "2014-08-12"


def made(folder: Path, *overrides: str) -> Iterator[tuple[Server, Path]]:
    """A server on a store that holds a model of each family, and the folder they were made in."""
    gate = ["gate.threshold=0", "gate.baseline_margin=null"]
    places = [f"target.runs={folder}/runs", f"target.cache={folder}/cache", f"serving.store={folder}/store"]
    for name in NAMES:
        assert cli.main(["run", f"experiment=snp_{name}", f"serving.name={name}", *gate, *places, *overrides]) == 0
    with running(follow_store(str(folder / "store"))) as server:
        until(lambda: not server.manager.not_live() and all(server.manager.knows(name) for name in NAMES))
        yield server, folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """Models of few steps, on simulated data."""
    yield from made(tmp_path_factory.mktemp("served"), "model.steps=20", "model.report_every=20")


@pytest.fixture(scope="module")
def published(closing_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """The published models."""
    yield from made(tmp_path_factory.mktemp("published"), "dataset.source=csv", f"dataset.path={closing_data}")


def ask(server: Server, name: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.rest_port}/v1/models/{name}:predict", json.dumps(body).encode()
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.loads(answer.read())["predictions"]


@pytest.mark.results
@pytest.mark.parametrize("api", ["rest", "grpc"])
@pytest.mark.parametrize(("name", "expected"), [("flat", 0), ("deep", 1), ("lightgbm", None)])
def test_the_published_answers(
    tapeline: Tapeline, published: tuple[Server, Path], closing_data: Path, name: str, expected: int | None, api: str
) -> None:
    server, folder = published
    port = server.rest_port if api == "rest" else server.grpc_port
    keys = [f"date={DAY}", f"api={api}", f"host=127.0.0.1:{port}", f"serving.name={name}"]
    data = ["dataset.source=csv", f"dataset.path={closing_data}", f"serving.store={folder}/store"]
    code, out, err = tapeline("predict", "json=true", *keys, *data)
    assert code == 0, err
    record = json.loads(out.splitlines()[-1])
    assert list(record) == ["date", "prediction", "probability", "model_version", "version", "latency_ms"]
    assert (record["date"], record["version"]) == (DAY, 1)
    assert record["prediction"] in ((expected,) if expected is not None else (0, 1))
    assert sum(record["probability"]) == pytest.approx(1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_batches_through_both_signatures(served: tuple[Server, Path], name: str, rows: int) -> None:
    server, folder = served
    table = open_table(artifact(next(folder.glob("runs/*_snp_flat")), "table", folder / "cache"))
    last = {"all": slice(table.manifest.rows - rows, None)}
    predictors = table.read(("feature",), last)["feature"].astype(float).tolist()
    closes = (
        simulate(0).filter(pl.col("snp").is_not_null()).fill_null(strategy="forward").select(list(CLOSES)).to_numpy()
    )
    ends = range(len(closes) - rows, len(closes))
    windows = [closes[end - 4 : end + 1].tolist() for end in ends]
    one = ask(server, name, {"instances": predictors})
    other = ask(server, name, {"signature_name": "closes", "instances": windows})
    assert len(one) == len(other) == rows
    np.testing.assert_allclose(
        [each["probability"] for each in other], [each["probability"] for each in one], rtol=0, atol=1e-6
    )


def test_a_nightly_run_does_not_bring_back_what_was_rolled_back(tapeline: Tapeline, folder: Path) -> None:
    line = ["run", "model=flat", "model.report_every=20", "gate.threshold=0", "gate.baseline_margin=null"]
    assert tapeline(*line, "model.steps=20")[0] == 0
    assert tapeline(*line, "model.steps=40")[0] == 0
    bad = metrics(folder)["model_version"]
    code, out, _ = tapeline("rollback", "why=it shorts everything")
    assert (code, "served now: indices-simulated version 1" in out) == (0, True)
    code, out, _ = tapeline(*line, "model.steps=40")
    assert code == 0
    assert steps(folder)["publish"] == "ran"
    assert metrics(folder)["model_version"] == bad
    assert "was rolled back by" in out
    assert "tapeline promote version=2" in out
    code, out, _ = tapeline("versions")
    assert code == 0
    rows = {row.split()[0]: row for row in out.splitlines()[2:]}
    assert rows["1"].split()[-2] == rows["1"].split()[1]
    assert rows["2"].endswith("rolled back")
    assert tapeline("promote", "version=2")[0] == 0
    code, out, _ = tapeline(*line, "model.steps=40")
    assert "is live already; nothing was written" in out
