from __future__ import annotations

import json
import shutil
import threading
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline import files, lookup
from tapeline.config import compose as conf
from tapeline.config import schema
from tapeline.errors import Refused
from tapeline.models.network.dense import Network
from tapeline.models.network.dense import servable as as_module
from tapeline.serving import saved_model
from tapeline.serving.store import location, operations, versions
from tests.conftest import ROOT
from tests.serving.conftest import Location


def servable(folder: Path, model_version: str, weight: float = 1.0) -> Path:
    """A servable with one layer."""
    arrays = (np.full((3, 2), weight, np.float32), np.zeros(2, np.float32))
    metadata = {"name": "m", "model_version": model_version, "features": ["a", "b", "c"], "data": "0" * 64}
    network = as_module(Network(lookup.task("direction"), arrays))
    saved_model.write(network, metadata, np.ones((2, 3), np.float32), folder / model_version)
    return folder / model_version


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    metrics = {
        "schema": 2,
        "config": {"gate": {"metric": "accuracy"}},
        "data": {"as_of": "17:00 Europe/London"},
        "test": {"overall": {"accuracy": 0.75}, "by": {}},
        "gate": {"accepted": True, "reasons": [], "metric": "accuracy"},
    }
    files.write_json(folder / "metrics.json", metrics)
    return {name: servable(folder, name * 12) for name in "abc"}


def serving(name: str = "m", **keys: Any) -> schema.Serving:
    config = lookup.configure([f"serving.name={name}", *(f"serving.{key}={value}" for key, value in keys.items())])
    return config.serving


def publish(made: Path, store: Location, name: str = "m", **keys: Any) -> tuple[versions.Version, bool]:
    return operations.publish(made, made.parent / "metrics.json", store, serving(name, **keys))


def content(store: Location, path: str) -> str:
    """The content of a file in the store, without comments."""
    lines = location.backend(store).read(path)[0].decode().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))


def live(store: Location) -> int | None:
    version = versions.read(store, "m").live()
    return version.number if version else None


def test_publish_adds_a_version_and_pins_it(models: dict[str, Path], store: Location) -> None:
    base = location.backend(store).base
    assert live(store) is None
    first, written = publish(models["a"], store)
    assert (first.number, written) == (1, True)
    assert publish(models["b"], store)[0].number == 2
    publish(models["c"], store, "other")
    assert (
        content(store, "models.config")
        == f"""model_config_list {{
  config {{
    name: "m"
    base_path: "{base}/m"
    model_platform: "tensorflow"
    model_version_policy {{
      specific {{
        versions: 2
      }}
    }}
  }}
  config {{
    name: "other"
    base_path: "{base}/other"
    model_platform: "tensorflow"
    model_version_policy {{
      specific {{
        versions: 1
      }}
    }}
  }}
}}
"""
    )
    assert versions.read(store, "m").live() == versions.Version("m", 2, "b" * 12)
    assert [each.number for each in versions.read(store, "m").versions()] == [1, 2]
    log = [json.loads(line) for line in content(store, "log.jsonl").splitlines()]
    assert [(each["name"], each["number"], each["before"]) for each in log] == [
        ("m", 1, None), ("m", 2, 1), ("other", 1, None),
    ]  # fmt: skip
    assert versions.read(store, "m").metrics(2)["gate"]["accepted"] is True


def test_publish_writes_nothing_for_the_live_model_and_adds_no_model_twice(
    models: dict[str, Path], tmp_path: Path
) -> None:
    publish(models["a"], tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert publish(models["a"], tmp_path) == (versions.Version("m", 1, "a" * 12), False)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    publish(models["b"], tmp_path)
    again, written = publish(models["a"], tmp_path)
    assert (again.number, written) == (1, True)
    assert len(versions.read(tmp_path, "m").versions()) == 2


def test_publish_refuses_a_model_that_was_rolled_back_until_it_is_promoted(
    models: dict[str, Path], store: Location
) -> None:
    publish(models["a"], store)
    publish(models["b"], store)
    sentence = operations.rollback(store, serving(), why="it shorts everything")
    assert sentence.startswith("served now: m version 1 (aaaaaaaaaaaa)")
    assert live(store) == 1
    with pytest.raises(versions.RolledBack, match=r"m version 2 .* was rolled back by .* tapeline promote version=2"):
        publish(models["b"], store)
    assert live(store) == 1
    assert next(versions.read(store, "m").history())["why"] == "it shorts everything"
    operations.canary(2, None, store, serving())
    with pytest.raises(versions.RolledBack):
        publish(models["b"], store)
    assert operations.promote(2, store, serving()) == "served now: m version 2 (bbbbbbbbbbbb)"
    assert publish(models["b"], store) == (versions.Version("m", 2, "b" * 12), False)
    publish(models["a"], store)
    assert publish(models["b"], store)[1] is True


def test_each_rollback_goes_back_one_version(models: dict[str, Path], store: Location) -> None:
    for name in "abc":
        publish(models[name], store)
    for expected in (2, 1):
        operations.rollback(store, serving())
        assert live(store) == expected
    with pytest.raises(Refused, match="no other version was live before"):
        operations.rollback(store, serving())
    with pytest.raises(Refused, match=r"nope: no other version was live before; set serving\.name to one of: m"):
        operations.rollback(store, serving("nope"))


def test_a_canary_is_served_beside_the_live_version_until_it_is_promoted(
    models: dict[str, Path], store: Location
) -> None:
    with pytest.raises(Refused, match="no version is live, and a canary"):
        operations.canary(models["b"], None, store, serving())
    publish(models["a"], store)
    sentence = operations.canary(models["b"], models["b"].parent / "metrics.json", store, serving())
    assert sentence == "served now: m version 1 (aaaaaaaaaaaa), and 2 (bbbbbbbbbbbb) as m-canary"
    entries = content(store, "models.config")
    assert entries.count(f'base_path: "{location.backend(store).base}/m"') == 2
    publish(models["c"], store)
    assert versions.read(store, "m").canary() == versions.Version("m", 2, "b" * 12)
    assert operations.promote(None, store, serving()) == "served now: m version 2 (bbbbbbbbbbbb)"
    assert versions.read(store, "m").canary() is None
    with pytest.raises(Refused, match="has no canary to promote"):
        operations.promote(None, store, serving())
    operations.rollback(store, serving())
    assert live(store) == 3


def test_old_versions_are_removed_unless_they_are_served(models: dict[str, Path], store: Location) -> None:
    publish(models["a"], store)
    operations.canary(models["b"], models["b"].parent / "metrics.json", store, serving())
    publish(models["c"], store, keep=1)
    assert [each.number for each in versions.read(store, "m").versions()] == [2, 3]
    with pytest.raises(Refused, match=r"m has no such version in .*it has 2, 3"):
        operations.promote(1, store, serving())


def test_the_table_of_versions_has_state_score_and_features(models: dict[str, Path], store: Location) -> None:
    publish(models["a"], store)
    publish(models["b"], store)
    operations.rollback(store, serving())
    rows = list(operations.table(store, "m"))
    assert [(row["number"], row["state"], row["score"], row["names"]) for row in rows] == [
        (1, "live", 0.75, ["a", "b", "c"]), (2, "rolled back", 0.75, ["a", "b", "c"]),
    ]  # fmt: skip
    with pytest.raises(Refused, match=r"serving\.name=x: .* set serving\.name to one of: m"):
        list(operations.table(store, "x"))


def test_the_table_reads_metrics_of_schema_1_and_2(models: dict[str, Path], store: Location) -> None:
    golden = files.read_json(ROOT / "tests" / "golden" / "schema1" / "snp_deep.json")
    older = models["a"].parent / "older.json"
    files.write_json(older, golden)
    operations.publish(models["a"], older, store, serving())
    publish(models["b"], store)
    rows = list(operations.table(store, "m"))
    assert [(row["metric"], row["score"], row["decision"]) for row in rows] == [
        ("accuracy", golden["test"]["accuracy"], "accepted"), ("accuracy", 0.75, "accepted"),
    ]  # fmt: skip


def test_a_damaged_servable_is_not_added(models: dict[str, Path], tmp_path: Path) -> None:
    publish(models["a"], tmp_path / "store")
    broken = models["a"].parent / "broken"
    shutil.copytree(models["b"], broken)
    (broken / "saved_model.pb").write_bytes(b"no protobuf")
    config_before = (tmp_path / "store" / "models.config").read_bytes()
    with pytest.raises(Refused, match="cannot be loaded as a servable"):
        publish(broken, tmp_path / "store")
    assert [each.number for each in versions.read(tmp_path / "store", "m").versions()] == [1]
    assert (tmp_path / "store" / "models.config").read_bytes() == config_before
    assert not list((tmp_path / "store").rglob("*.partial"))


def test_a_model_that_is_larger_than_the_free_space_is_not_added(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(models["a"], tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1000))
    with pytest.raises(Refused, match=r"needs about .* of disk space, and 1 kB are free") as refused:
        publish(models["b"], tmp_path)
    assert (str(tmp_path / "m") in str(refused.value), sorted(tmp_path.rglob("*"))) == (True, before)


def test_two_publishers_at_once_add_two_versions(models: dict[str, Path], store: Location) -> None:
    section = serving()

    def publish_one(made: Path) -> None:
        operations.publish(made, made.parent / "metrics.json", store, section)

    threads = [threading.Thread(target=publish_one, args=(models[name],)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.model_version for each in versions.read(store, "m").versions()} == {"a" * 12, "b" * 12}


def test_folders_that_tapeline_did_not_publish_are_left_alone(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "m" / "lost+found").mkdir(parents=True)
    publish(models["a"], tmp_path)
    (tmp_path / "m" / "7").mkdir()
    for name in ("\u00b2", "007", "-1", "1e3"):
        (tmp_path / "m" / name).mkdir()
    (tmp_path / "m" / "9").write_bytes(b"a stray file")
    assert publish(models["b"], tmp_path)[0].number == 10
    assert [(each.number, each.problem) for each in versions.read(tmp_path, "m").versions()] == [
        (1, ""), (7, "damaged: saved_model.pb"), (10, ""),
    ]  # fmt: skip
    with pytest.raises(Refused, match=r"version=7: .*m/7 is damaged: saved_model\.pb"):
        operations.promote(7, tmp_path, serving())
    assert operations.rollback(tmp_path, serving()).startswith("served now: m version 1 ")
    (tmp_path / "models.config").write_text("model_config_list: {")
    with pytest.raises(Refused, match=r"models\.config: is not a model_config_list"):
        live(tmp_path)


def test_publish_of_the_live_model_needs_no_lock(models: dict[str, Path], tmp_path: Path) -> None:
    publish(models["a"], tmp_path)
    with files.locked(tmp_path / ".lock", seconds=0, what="x"):
        assert publish(models["a"], tmp_path, lock_seconds=0.1)[1] is False


def test_a_lock_that_stays_held_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    with files.locked(tmp_path / ".lock", seconds=0, what="x"), pytest.raises(Refused, match="the lock of the store"):
        publish(models["a"], tmp_path, lock_seconds=0.1)


def test_a_servable_predicts_batches_and_returns_its_model_version(models: dict[str, Path]) -> None:
    predict = saved_model.load(models["a"])
    for rows in (1, 2, 1000):
        outputs = predict(np.ones((rows, 3), np.float32))
        assert outputs["prediction"].shape == (rows,)
        assert outputs["prediction"].dtype == np.int64
        assert outputs["probability"].shape == (rows, 2)
        assert outputs["probability"].dtype == np.float64
        assert outputs["model_version"].tolist() == [b"a" * 12] * rows
    saved_model.verify(models["a"])


def test_the_warm_up_is_a_prediction_log_of_tf_serving(models: dict[str, Path]) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    from tapeline import tensorflow as tf

    records = list(tf.load().data.TFRecordDataset(str(models["a"] / saved_model.WARM_UP)).as_numpy_iterator())
    log = prediction_log_pb2.PredictionLog.FromString(records[0])
    assert len(records) == 1
    assert log.predict_log.request.model_spec.name == "m"
    assert log.predict_log.request.model_spec.signature_name == "serving_default"
    assert [dim.size for dim in log.predict_log.request.inputs["predictors"].tensor_shape.dim] == [2, 3]


def test_the_serving_name_is_part_of_the_model_version() -> None:
    assert "serving.name" in conf.flat(conf.plain(lookup.configure([]), places=False))


def test_a_version_is_live_since_it_last_became_so() -> None:
    verbs = [("publish", 1), ("publish", 2), ("canary", 3), ("rollback", 1), ("promote", 1)]
    history = [{"verb": verb, "number": number, "time": f"day {day}"} for day, (verb, number) in enumerate(verbs)]
    found = [operations._live_since(history, number) for number in (1, 2, 3)]
    assert found == ["day 3", "day 1", ""]
