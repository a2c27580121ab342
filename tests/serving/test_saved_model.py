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
from tapeline.serving import client, saved_model
from tapeline.serving.servers.server import follow_store
from tapeline.tables import splits
from tapeline.tables.spec import Column, InputSpec, Manifest, SignatureSpec, header_of
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


def table_and_closes(frame: pl.DataFrame, *overrides: str) -> tuple[Table, Array]:
    """The table, and for each of its rows the input `closes` with the same features: [rows, 5, markets]."""
    section = lookup.configure(overrides).dataset
    assert isinstance(section, indices.Section)
    raw = indices.ingest(section, frame.lazy(), "closes.csv")
    filled = raw.filter(pl.col("snp").is_not_null()).select(MARKETS).fill_null(strategy="forward").drop_nulls()
    closes = filled.to_numpy()
    windows = [closes[at - 4 : at + 1] for at in range(indices.FIRST_ROW, len(closes))]
    header, ((_, rows),) = indices.table(section, raw)
    assert isinstance(rows, pl.DataFrame)
    names = header.names("feature")
    features = np.ascontiguousarray(rows.select(names).to_numpy())
    return Table(rows["time"].to_numpy(), names, features, rows["target"].to_numpy()), np.stack(windows)


def manifest(names: tuple[str, ...]) -> Manifest:
    """The header of a table of indices with these features."""
    columns = [Column("target", "target", "int64"), *(Column(name, "feature", "float32") for name in names)]
    return header_of(indices.SPEC, "indices", columns, {})


def export(name: str, table: Table, folder: Path) -> Path:
    """A servable of a small model of the family, fitted to the table."""
    section = lookup.configure([f"model={name}", "model.steps=30", "model.report_every=30", *SMALL[name]]).model
    rows = Rows(table.features[:900], table.target[:900])
    validation = Rows(table.features[900:1000], table.target[900:1000])
    model, _ = family(name).fit(section, rows, validation, Training(direction, 0, lambda *_: None))
    metadata = {"name": "m", "model_version": "0" * 12, "features": table.names, "tensorflow": tf.load().__version__}
    module = family(name).servable(model)
    saved_model.write(module, metadata, table.features[-8:], folder / name, indices.signatures(manifest(table.names)))
    return folder / name


@pytest.fixture(scope="module", params=list(SMALL))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table, Array]:
    table, closes = table_and_closes(simulate(0))
    return export(request.param, table, tmp_path_factory.mktemp("exported")), table, closes


def assert_same(outputs: dict[str, Array], expected: dict[str, Array]) -> None:
    assert {*outputs} == {*expected} >= {"prediction", "probability", "model_version"}
    for name, values in expected.items():
        assert outputs[name].dtype == values.dtype
        np.testing.assert_array_equal(outputs[name], values)


def test_both_signatures_return_the_same_outputs(exported: tuple[Path, Table, Array]) -> None:
    folder, table, closes = exported
    saved_model.verify(folder)
    by_features, by_closes = saved_model.load(folder), saved_model.load(folder, "closes")
    assert len({*by_features(table.features)["probability"][:, 0]}) > 10
    for rows in (1, 2, 1000):
        assert_same(by_closes(closes[-rows:]), by_features(table.features[-rows:]))


def test_the_server_answers_the_signature_closes_over_both_apis(
    exported: tuple[Path, Table, Array], tmp_path: Path
) -> None:
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    folder, _, closes = exported
    shutil.copytree(folder, tmp_path / "m" / "1")
    pin(tmp_path, m=1)
    closes = closes[-1000:].copy()
    closes[:, 4, :3] = 0  # later than the time of the prediction
    expected = saved_model.load(folder, "closes")(closes)["probability"]
    with running(follow_store(str(tmp_path))) as started:
        until(lambda: http(started.rest_port, "/v1/models/m/metadata")[0] == 200)
        with grpc.insecure_channel(f"localhost:{started.grpc_port}") as channel:
            for rows in (1, 2, 1000):
                request = predict_pb2.PredictRequest()
                request.model_spec.name, request.model_spec.signature_name = "m", "closes"
                request.inputs["closes"].CopyFrom(tf.load().make_tensor_proto(closes[:rows]))
                answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=600)
                found = tf.load().make_ndarray(answer.outputs["probability"])
                np.testing.assert_allclose(found, expected[:rows], rtol=0, atol=1e-6)
                body = {"signature_name": "closes", "instances": closes[:rows].tolist()}
                status, response = http(started.rest_port, "/v1/models/m:predict", body)
                assert status == 200, response
                found = np.array([each["probability"] for each in response["predictions"]])
                np.testing.assert_allclose(found, expected[:rows], rtol=0, atol=1e-6)


def test_closes_after_the_time_of_prediction_have_no_effect(exported: tuple[Path, Table, Array]) -> None:
    folder, _, closes = exported
    predict = saved_model.load(folder, "closes")
    expected = predict(closes[:50])
    for anything in (np.nan, 0.0, -1.0, np.inf, 1e300):
        moved = closes[:50].copy()
        moved[:, 4, :3] = anything  # the last US closes
        moved[:, 0, 3:] = anything  # the others' first, before their first return
        assert_same(predict(moved), expected)
    moved = closes[:50].copy()
    moved[:, 4, MARKETS.index("dax")] *= 0.9
    assert not np.array_equal(predict(moved)["probability"], expected["probability"])


@pytest.mark.parametrize("bad", [np.nan, 0.0, -7000.0, np.inf])
def test_a_row_with_an_invalid_price_has_nan_and_minus_one(exported: tuple[Path, Table, Array], bad: float) -> None:
    folder, _, closes = exported
    predict = saved_model.load(folder, "closes")
    broken = closes[:4].copy()
    broken[1, 3, 0] = bad
    broken[2, 3:, 5] = bad  # two in sequence: their ratio is finite
    answer, expected = predict(broken), predict(closes[:4])
    assert answer["prediction"].tolist() == [expected["prediction"][0], -1, -1, expected["prediction"][3]]
    for name in {*answer} - {"prediction", "model_version"}:
        assert np.isnan(answer[name][1:3]).all()
        np.testing.assert_array_equal(answer[name][[0, 3]], expected[name][[0, 3]])
    assert answer["model_version"].tolist() == expected["model_version"].tolist()


def test_the_signature_closes_computes_the_features_of_an_earlier_as_of(tmp_path: Path) -> None:
    table, closes = table_and_closes(simulate(0), EARLY)
    assert len(table.names) == 22
    folder = export("flat", table, tmp_path)
    saved_model.verify(folder)
    closes[:, 4, [MARKETS.index("ftse"), MARKETS.index("dax")]] = np.nan  # later than as_of
    assert_same(saved_model.load(folder, "closes")(closes), saved_model.load(folder)(table.features))


def features(names: tuple[str, ...], closes: Array) -> Array:
    tensorflow = tf.load()
    (signature,) = indices.signatures(manifest(names))
    computed: Array = signature.features({"closes": tensorflow.constant(closes)}).numpy()
    return computed


@pytest.mark.parametrize("overrides", [[], [EARLY]])
def test_the_graph_computes_the_features_of_the_table(closing_data: Path, tmp_path: Path, overrides: list[str]) -> None:
    section = lookup.configure(["dataset.source=csv", f"dataset.path={closing_data}"]).dataset
    table, closes = table_and_closes(source(section).read(section, indices.simulate, tmp_path)[0].collect(), *overrides)
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


def test_the_metadata_describes_the_signature_closes(exported: tuple[Path, Table, Array]) -> None:
    metadata = json.loads((exported[0] / saved_model.METADATA).read_text())
    assert metadata["signatures"] == {
        "closes": {
            "inputs": {"closes": {"shape": [5, 8], "dtype": "float64"}},
            "rows": "t-4 to t, one for each day of the S&P",
            "columns": ["snp", "nyse", "djia", "nikkei", "hangseng", "ftse", "dax", "aord"],
        }
    }


def test_the_warm_up_has_a_request_for_each_signature(exported: tuple[Path, Table, Array]) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    records = tf.load().data.TFRecordDataset(str(exported[0] / saved_model.WARM_UP)).as_numpy_iterator()
    requests = [prediction_log_pb2.PredictionLog.FromString(each).predict_log.request for each in records]
    assert [each.model_spec.signature_name for each in requests] == ["serving_default", "closes"]
    shapes = [[dim.size for dim in tensor.tensor_shape.dim] for each in requests for tensor in each.inputs.values()]
    assert shapes == [[8, 24], [8, 5, 8]]
    assert [key for each in requests for key in each.inputs] == ["predictors", "closes"]


def test_verify_refuses_a_signature_that_returns_nan(tmp_path: Path) -> None:
    table, _ = table_and_closes(simulate(0))
    folder = export("flat", table, tmp_path)
    metadata = saved_model.read_metadata(folder)
    price = InputSpec("price", (3,), "float64")
    blind = SignatureSpec(
        "blind", (price,), lambda inputs: tf.load().repeat(inputs["price"][:, :1] * np.nan, 24, axis=1)
    )

    def total(predictors: Any) -> dict[str, Any]:
        return {"prediction": tf.load().reduce_sum(predictors, axis=1)}

    saved_model.write(total, metadata, table.features[:2], tmp_path / "blind", (blind,))
    with pytest.raises(Refused, match="signature blind returns NaN or infinity in the output prediction"):
        saved_model.verify(tmp_path / "blind")


def test_a_signature_takes_several_inputs_of_any_type_and_adds_outputs(tmp_path: Path) -> None:
    tensorflow = tf.load()

    def features(inputs: Any) -> Any:
        scale = tensorflow.strings.to_number(inputs["scale"])
        return tensorflow.cast(inputs["days"], tensorflow.float32) * scale[:, None]

    spec = SignatureSpec(
        "texts",
        (InputSpec("days", (2,), "int64", 3), InputSpec("scale", (), "str", b"0.5")),
        features,
        answered=lambda inputs: inputs["days"][:, 0] >= 0,
        outputs=lambda _, outputs: {"doubled": outputs["prediction"] * 2},
    )

    def total(predictors: Any) -> dict[str, Any]:
        return {"prediction": tensorflow.reduce_sum(predictors, axis=1)}

    metadata = {"name": "m", "model_version": "0" * 12, "features": ["a", "b"], "tensorflow": tensorflow.__version__}
    folder = tmp_path / "m" / "1"
    saved_model.write(total, metadata, np.ones((2, 2), np.float32), folder, (spec,))
    saved_model.verify(folder)
    assert saved_model.warm_up(folder)["texts"]["scale"].tolist() == [b"0.5", b"0.5"]
    inputs = {"days": np.array([[1, 2], [-1, 5]]), "scale": np.array([b"2", b"10"], object)}
    answer = saved_model.load(folder, "texts")(inputs)
    np.testing.assert_array_equal(answer["prediction"], np.array([6, np.nan], np.float32))
    np.testing.assert_array_equal(answer["doubled"], np.array([12, np.nan], np.float32))
    pin(tmp_path, m=1)
    with running(follow_store(str(tmp_path))) as started:
        until(lambda: http(started.rest_port, "/v1/models/m/metadata")[0] == 200)
        for api, port in (("rest", started.rest_port), ("grpc", started.grpc_port)):
            server = client.endpoint(f"127.0.0.1:{port}", {}, "m", api)
            response = client.predict(server, inputs, signature="texts")
            assert (response.version, response.outputs["prediction"][0]) == (1, 6)
            with pytest.raises(Refused, match="has no signature text"):
                client.predict(server, inputs, signature="text")
            with pytest.raises(Refused, match="takes days, scale, not days"):
                client.predict(server, {"days": inputs["days"]}, signature="texts")
            with pytest.raises(Refused, match=r"expects shape \[2\] for a row of days"):
                client.predict(server, {**inputs, "days": np.zeros((2, 3), np.int64)}, signature="texts")


def test_verify_refuses_a_servable_without_a_warm_up_request(
    exported: tuple[Path, Table, Array], tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    shutil.copytree(exported[0], folder)
    (folder / saved_model.WARM_UP).write_bytes(b"")
    with pytest.raises(Refused, match="has no warm-up request for the signature serving_default, closes"):
        saved_model.verify(folder)
    damaged = bytearray((exported[0] / saved_model.WARM_UP).read_bytes())
    damaged[len(damaged) // 4] ^= 1
    (folder / saved_model.WARM_UP).write_bytes(damaged)
    with pytest.raises(Refused, match="cannot be read"):
        saved_model.verify(folder)


def test_outputs_are_in_the_order_of_their_names(exported: tuple[Path, Table, Array]) -> None:
    folder, table, _ = exported
    answers = saved_model.load(folder)(table.features[:2])
    assert len(answers) > 1
    assert list(answers) == sorted(answers)


def test_load_refuses_a_signature_that_does_not_exist(exported: tuple[Path, Table, Array]) -> None:
    with pytest.raises(Refused, match="cannot be loaded as a servable"):
        saved_model.load(exported[0], "nope")


def test_verify_refuses_a_servable_of_a_later_tensorflow(tmp_path: Path) -> None:
    table, _ = table_and_closes(simulate(0))
    folder = export("flat", table, tmp_path)
    for written_by, loads in (("2.14.1", True), ("2.20.3", True), ("2.21.0", False), ("3.0.0", False)):
        files.write_json(folder / saved_model.METADATA, {**saved_model.read_metadata(folder), "tensorflow": written_by})
        if loads:
            saved_model.verify(folder)
        else:
            with pytest.raises(
                Refused, match=rf"was written by TensorFlow {written_by}, which is later than the servers' 2\.20"
            ):
                saved_model.verify(folder)
