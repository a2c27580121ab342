from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tapeline import files, lookup
from tapeline import tensorflow as tf
from tapeline.datasets import indices
from tapeline.datasets.indices.simulation import simulate
from tapeline.errors import Refused
from tapeline.lookup import family, source
from tapeline.models import Rows, Training
from tapeline.serving import saved_model as servable
from tapeline.serving.servers.server import follow_store
from tapeline.tables import splits
from tapeline.tables.spec import Input
from tapeline.tasks import direction
from tests.serving.servables import http, pin, running, until

Array = np.ndarray[Any, Any]
MARKETS = list(indices.CLOSES)
SMALL = {"flat": [], "deep": ["model.hidden=[5]", "model.initial_sd=0.3"], "lightgbm": ["model.min_data_in_leaf=5"]}
EARLY = "dataset.as_of=09:00 America/New_York"


@dataclass(frozen=True)
class Table:
    """The rows of a small table."""

    time: Array
    names: tuple[str, ...]
    features: Array
    target: Array


def tabled(frame: pl.DataFrame, *overrides: str) -> tuple[Table, Array]:
    """The table, and for each of its rows what a client would send: the closes that lead to it."""
    section = lookup.configure(overrides).dataset
    assert isinstance(section, indices.Section)
    raw = indices.ingest(section, frame.lazy(), "closes.csv")
    filled = raw.filter(pl.col("snp").is_not_null()).select(MARKETS).fill_null(strategy="forward").drop_nulls()
    closes = filled.to_numpy()
    sent = [closes[at - 4 : at + 1] for at in range(indices.FIRST_ROW, len(closes))]
    header, ((_, rows),) = indices.table(section, raw)
    assert isinstance(rows, pl.DataFrame)
    names = header.names("feature")
    features = np.ascontiguousarray(rows.select(names).to_numpy())
    return Table(rows["time"].to_numpy(), names, features, rows["target"].to_numpy()), np.stack(sent)


def written(name: str, table: Table, folder: Path) -> Path:
    """A little model of that family, fitted to the table, as a servable."""
    section = lookup.configure([f"model={name}", "model.steps=30", "model.report_every=30", *SMALL[name]]).model
    rows = Rows(table.features[:900], table.target[:900])
    validation = Rows(table.features[900:1000], table.target[900:1000])
    model, _ = family(name).fit(section, rows, validation, Training(direction, 0, lambda *_: None))
    about = {"name": "m", "model_version": "0" * 12, "features": table.names, "tensorflow": tf.load().__version__}
    module = family(name).servable(model)
    servable.write(module, about, table.features[-8:], folder / name, (indices.served(table.names),))
    return folder / name


@pytest.fixture(scope="module", params=list(SMALL))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table, Array]:
    table, closes = tabled(simulate(0))
    return written(request.param, table, tmp_path_factory.mktemp("made")), table, closes


def assert_same(got: dict[str, Array], wanted: dict[str, Array]) -> None:
    assert {*got} == {*wanted} >= {"prediction", "probability", "model_version"}
    for name, values in wanted.items():
        assert got[name].dtype == values.dtype
        np.testing.assert_array_equal(got[name], values)


def test_closes_and_predictors_give_the_same_answers(made: tuple[Path, Table, Array]) -> None:
    folder, table, closes = made
    servable.verify(folder)
    by_features, by_closes = servable.load(folder), servable.load(folder, "closes")
    assert len({*by_features(table.features)["probability"][:, 0]}) > 10
    for rows in (1, 2, 1000):
        assert_same(by_closes(closes[-rows:]), by_features(table.features[-rows:]))


def test_servers_answer_closes_over_grpc_and_rest(made: tuple[Path, Table, Array], tmp_path: Path) -> None:
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    folder, _, closes = made
    shutil.copytree(folder, tmp_path / "m" / "1")
    pin(tmp_path, m=1)
    closes = closes[-1000:].copy()
    closes[:, 4, :3] = 0  # not known yet
    wanted = servable.load(folder, "closes")(closes)["probability"]
    with running(follow_store(str(tmp_path))) as started:
        until(lambda: http(started.rest_port, "/v1/models/m/metadata")[0] == 200)
        with grpc.insecure_channel(f"localhost:{started.grpc_port}") as channel:
            for rows in (1, 2, 1000):
                request = predict_pb2.PredictRequest()
                request.model_spec.name, request.model_spec.signature_name = "m", "closes"
                request.inputs["closes"].CopyFrom(tf.load().make_tensor_proto(closes[:rows]))
                answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=30)
                got = tf.load().make_ndarray(answer.outputs["probability"])
                np.testing.assert_allclose(got, wanted[:rows], rtol=0, atol=1e-6)
                asked = {"signature_name": "closes", "instances": closes[:rows].tolist()}
                status, said = http(started.rest_port, "/v1/models/m:predict", asked)
                assert status == 200, said
                got = np.array([each["probability"] for each in said["predictions"]])
                np.testing.assert_allclose(got, wanted[:rows], rtol=0, atol=1e-6)


def test_what_is_not_known_yet_does_not_matter(made: tuple[Path, Table, Array]) -> None:
    folder, _, closes = made
    predict = servable.load(folder, "closes")
    wanted = predict(closes[:50])
    for anything in (np.nan, 0.0, -1.0, np.inf, 1e300):
        moved = closes[:50].copy()
        moved[:, 4, :3] = anything  # the last US closes
        moved[:, 0, 3:] = anything  # the others' first, before their first return
        assert_same(predict(moved), wanted)
    moved = closes[:50].copy()
    moved[:, 4, MARKETS.index("dax")] *= 0.9
    assert not np.array_equal(predict(moved)["probability"], wanted["probability"])


@pytest.mark.parametrize("bad", [np.nan, 0.0, -7000.0, np.inf])
def test_what_is_no_price_leaves_its_row_without_answer(made: tuple[Path, Table, Array], bad: float) -> None:
    folder, _, closes = made
    predict = servable.load(folder, "closes")
    broken = closes[:4].copy()
    broken[1, 3, 0] = bad
    broken[2, 3:, 5] = bad  # two in turn, whose ratio would be a number
    answer, wanted = predict(broken), predict(closes[:4])
    assert answer["prediction"].tolist() == [wanted["prediction"][0], -1, -1, wanted["prediction"][3]]
    for name in {*answer} - {"prediction", "model_version"}:
        assert np.isnan(answer[name][1:3]).all()
        np.testing.assert_array_equal(answer[name][[0, 3]], wanted[name][[0, 3]])
    assert answer["model_version"].tolist() == wanted["model_version"].tolist()


def test_as_many_columns_as_the_table_has(tmp_path: Path) -> None:
    table, closes = tabled(simulate(0), EARLY)
    assert len(table.names) == 22
    folder = written("flat", table, tmp_path)
    servable.verify(folder)
    closes[:, 4, [MARKETS.index("ftse"), MARKETS.index("dax")]] = np.nan  # not known by then
    assert_same(servable.load(folder, "closes")(closes), servable.load(folder)(table.features))


def features(names: tuple[str, ...], closes: Array) -> Array:
    tensorflow = tf.load()
    computed: Array = indices.served(names).features(tensorflow.constant(closes)).numpy()
    return computed


@pytest.mark.parametrize("overrides", [[], [EARLY]])
def test_features_in_the_graph_are_the_tables_bit_for_bit(
    closing_data: Path, tmp_path: Path, overrides: list[str]
) -> None:
    section = lookup.configure(["dataset.source=csv", f"dataset.path={closing_data}"]).dataset
    table, closes = tabled(source(section).read(section, indices.simulate, tmp_path)[0].collect(), *overrides)
    assert table.features.shape == (1440, 24 - 2 * len(overrides))
    closes[:, 4, :3] = np.nan
    computed = features(table.names, closes)
    assert computed.dtype == np.float32
    # logarithms of TensorFlow and NumPy may differ in the last digit of a float64, which float32 hardly ever shows
    steps = computed.view(np.int32).astype(np.int64) - table.features.view(np.int32)
    assert np.abs(steps).max() <= 1
    assert np.count_nonzero(steps) <= 3
    (window,) = splits.periods(lookup.configure([]).split, table.time, indices.SPEC.horizon)
    assert str(window.test[0].first)[:10] == "2014-08-12"  # type: ignore[union-attr]


def test_a_servable_tells_what_closes_is(made: tuple[Path, Table, Array]) -> None:
    told = json.loads((made[0] / servable.ABOUT).read_text())["signatures"]
    assert told == {
        "closes": {
            "input": "closes",
            "shape": [5, 8],
            "dtype": "float64",
            "rows": "t-4 to t, one for each day of the S&P",
            "columns": ["snp", "nyse", "djia", "nikkei", "hangseng", "ftse", "dax", "aord"],
        }
    }


def test_warm_up_asks_each_signature(made: tuple[Path, Table, Array]) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    records = tf.load().data.TFRecordDataset(str(made[0] / servable.WARM_UP)).as_numpy_iterator()
    requests = [prediction_log_pb2.PredictionLog.FromString(each).predict_log.request for each in records]
    assert [each.model_spec.signature_name for each in requests] == ["serving_default", "closes"]
    shapes = [[dim.size for dim in tensor.tensor_shape.dim] for each in requests for tensor in each.inputs.values()]
    assert shapes == [[8, 24], [8, 5, 8]]
    assert [key for each in requests for key in each.inputs] == ["predictors", "closes"]


def test_a_second_signature_without_answers_is_found(tmp_path: Path) -> None:
    table, _ = tabled(simulate(0))
    folder = written("flat", table, tmp_path)
    told = servable.about(folder)
    blind = Input("blind", (3,), "float64", lambda values: tf.load().repeat(values[:, :1] * np.nan, 24, axis=1))

    def total(predictors: Any) -> dict[str, Any]:
        return {"prediction": tf.load().reduce_sum(predictors, axis=1)}

    servable.write(total, told, table.features[:2], tmp_path / "blind", (blind,))
    with pytest.raises(Refused, match="blind answers with a prediction that is no number"):
        servable.verify(tmp_path / "blind")


def test_a_servable_without_the_signature_is_refused(made: tuple[Path, Table, Array]) -> None:
    with pytest.raises(Refused, match="is not a servable that can be loaded"):
        servable.load(made[0], "nope")


def test_what_a_later_tensorflow_wrote_is_refused(tmp_path: Path) -> None:
    table, _ = tabled(simulate(0))
    folder = written("flat", table, tmp_path)
    for wrote, works in (("2.14.1", True), ("2.20.3", True), ("2.21.0", False), ("3.0.0", False)):
        files.write_json(folder / servable.ABOUT, {**servable.about(folder), "tensorflow": wrote})
        if works:
            servable.verify(folder)
        else:
            with pytest.raises(Refused, match=rf"was written by TensorFlow {wrote}, later than the servers' 2\.20"):
                servable.verify(folder)
