from __future__ import annotations

import json
import shutil
import threading
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
from tapeline.serving import saved_model as servable
from tapeline.serving.store import location as places
from tapeline.serving.store import operations as verbs
from tapeline.serving.store import versions as store
from tests.conftest import ROOT
from tests.serving.conftest import Place


def model(folder: Path, version: str, weight: float = 1.0) -> Path:
    """A servable of one layer."""
    arrays = (np.full((3, 2), weight, np.float32), np.zeros(2, np.float32))
    about = {"name": "m", "model_version": version, "features": ["a", "b", "c"], "data": "0" * 64}
    network = as_module(Network(lookup.task("direction"), arrays))
    servable.write(network, about, np.ones((2, 3), np.float32), folder / version)
    return folder / version


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    record = {
        "schema": 2,
        "config": {"gate": {"metric": "accuracy"}},
        "data": {"as_of": "17:00 Europe/London"},
        "test": {"overall": {"accuracy": 0.75}, "by": {}},
        "gate": {"accepted": True, "reasons": [], "metric": "accuracy"},
    }
    files.write_json(folder / "metrics.json", record)
    return {name: model(folder, name * 12) for name in "abc"}


def serving(name: str = "m", **keys: Any) -> schema.Serving:
    told = lookup.configure([f"serving.name={name}", *(f"serving.{key}={value}" for key, value in keys.items())])
    return told.serving


def publish(made: Path, place: Place, name: str = "m", **keys: Any) -> tuple[store.Version, bool]:
    return verbs.publish(made, made.parent / "metrics.json", place, serving(name, **keys))


def content(place: Place, path: str) -> str:
    """A file of the store, without comments."""
    lines = places.at(place).read(path)[0].decode().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))


def live(place: Place) -> int | None:
    version = store.read(place, "m").live()
    return version.number if version else None


def test_versions_count_up_and_models_config_names_the_last(models: dict[str, Path], place: Place) -> None:
    base = places.at(place).base
    assert live(place) is None
    first, written = publish(models["a"], place)
    assert (first.number, written) == (1, True)
    assert publish(models["b"], place)[0].number == 2
    publish(models["c"], place, "other")
    assert (
        content(place, "models.config")
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
    assert store.read(place, "m").live() == store.Version("m", 2, "b" * 12)
    assert [each.number for each in store.read(place, "m").versions()] == [1, 2]
    log = [json.loads(line) for line in content(place, "log.jsonl").splitlines()]
    assert [(each["name"], each["number"], each["before"]) for each in log] == [
        ("m", 1, None), ("m", 2, 1), ("other", 1, None),
    ]  # fmt: skip
    assert store.read(place, "m").metrics(2)["gate"]["accepted"] is True


def test_what_is_live_is_not_written_again_and_what_is_held_keeps_its_number(
    models: dict[str, Path], tmp_path: Path
) -> None:
    publish(models["a"], tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert publish(models["a"], tmp_path) == (store.Version("m", 1, "a" * 12), False)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    publish(models["b"], tmp_path)
    again, written = publish(models["a"], tmp_path)
    assert (again.number, written) == (1, True)
    assert len(store.read(tmp_path, "m").versions()) == 2


def test_a_rollback_is_one_write_and_its_model_stays_out_until_promoted(models: dict[str, Path], place: Place) -> None:
    publish(models["a"], place)
    publish(models["b"], place)
    said = verbs.rollback(place, serving(), why="it shorts everything")
    assert said.startswith("served now: m version 1 (aaaaaaaaaaaa)")
    assert live(place) == 1
    with pytest.raises(store.RolledBack, match=r"m version 2 .* was rolled back by .* tapeline promote version=2"):
        publish(models["b"], place)
    assert live(place) == 1
    assert store.read(place, "m").history()[-1]["why"] == "it shorts everything"
    verbs.canary(2, None, place, serving())
    with pytest.raises(store.RolledBack):
        publish(models["b"], place)
    assert verbs.promote(2, place, serving()) == "served now: m version 2 (bbbbbbbbbbbb)"
    assert publish(models["b"], place) == (store.Version("m", 2, "b" * 12), False)
    publish(models["a"], place)
    assert publish(models["b"], place)[1] is True


def test_rollbacks_go_back_one_by_one(models: dict[str, Path], place: Place) -> None:
    for name in "abc":
        publish(models[name], place)
    for expected in (2, 1):
        verbs.rollback(place, serving())
        assert live(place) == expected
    with pytest.raises(Refused, match="nothing was live before"):
        verbs.rollback(place, serving())
    with pytest.raises(Refused, match=r"nope: nothing was live before; this store has m: serving\.name="):
        verbs.rollback(place, serving("nope"))


def test_a_canary_stands_beside_until_promoted(models: dict[str, Path], place: Place) -> None:
    with pytest.raises(Refused, match="nothing is live, so there is nothing to stand beside"):
        verbs.canary(models["b"], None, place, serving())
    publish(models["a"], place)
    said = verbs.canary(models["b"], models["b"].parent / "metrics.json", place, serving())
    assert said == "served now: m version 1 (aaaaaaaaaaaa), and 2 (bbbbbbbbbbbb) as m-canary"
    entries = content(place, "models.config")
    assert entries.count(f'base_path: "{places.at(place).base}/m"') == 2
    publish(models["c"], place)
    assert store.read(place, "m").canary() == store.Version("m", 2, "b" * 12)
    assert verbs.promote(None, place, serving()) == "served now: m version 2 (bbbbbbbbbbbb)"
    assert store.read(place, "m").canary() is None
    with pytest.raises(Refused, match="has no canary to promote"):
        verbs.promote(None, place, serving())
    verbs.rollback(place, serving())
    assert live(place) == 3


def test_old_versions_go_but_never_one_that_is_served(models: dict[str, Path], place: Place) -> None:
    publish(models["a"], place)
    verbs.canary(models["b"], models["b"].parent / "metrics.json", place, serving())
    publish(models["c"], place, keep=1)
    assert [each.number for each in store.read(place, "m").versions()] == [2, 3]
    with pytest.raises(Refused, match=r"m has no such version in .*it has 2, 3"):
        verbs.promote(1, place, serving())


def test_versions_are_listed_with_what_they_are(models: dict[str, Path], place: Place) -> None:
    publish(models["a"], place)
    publish(models["b"], place)
    verbs.rollback(place, serving())
    rows = list(verbs.table(place, "m"))
    assert [(row["number"], row["state"], row["score"], row["names"]) for row in rows] == [
        (1, "live", 0.75, ["a", "b", "c"]), (2, "rolled back", 0.75, ["a", "b", "c"]),
    ]  # fmt: skip
    with pytest.raises(Refused, match=r"serving\.name=x: .* set serving\.name to one of: m"):
        list(verbs.table(place, "x"))


def test_versions_of_an_older_tapeline_are_listed_beside_new_ones(models: dict[str, Path], place: Place) -> None:
    golden = files.read_json(ROOT / "tests" / "golden" / "schema1" / "snp_deep.json")
    older = models["a"].parent / "older.json"
    files.write_json(older, golden)
    verbs.publish(models["a"], older, place, serving())
    publish(models["b"], place)
    rows = list(verbs.table(place, "m"))
    assert [(row["metric"], row["score"], row["decision"]) for row in rows] == [
        ("accuracy", golden["test"]["accuracy"], "accepted"), ("accuracy", 0.75, "accepted"),
    ]  # fmt: skip


def test_a_damaged_model_never_gets_a_number(models: dict[str, Path], tmp_path: Path) -> None:
    publish(models["a"], tmp_path / "store")
    broken = models["a"].parent / "broken"
    shutil.copytree(models["b"], broken)
    (broken / "saved_model.pb").write_bytes(b"no protobuf")
    config_before = (tmp_path / "store" / "models.config").read_bytes()
    with pytest.raises(Refused, match="is not a servable that can be loaded"):
        publish(broken, tmp_path / "store")
    assert [each.number for each in store.read(tmp_path / "store", "m").versions()] == [1]
    assert (tmp_path / "store" / "models.config").read_bytes() == config_before
    assert not list((tmp_path / "store").rglob("*.partial"))


def test_two_publishers_take_two_numbers(models: dict[str, Path], place: Place) -> None:
    told = serving()

    def one(made: Path) -> None:
        verbs.publish(made, made.parent / "metrics.json", place, told)

    threads = [threading.Thread(target=one, args=(models[name],)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.model_version for each in store.read(place, "m").versions()} == {"a" * 12, "b" * 12}


def test_strangers_in_the_store(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "m" / "lost+found").mkdir(parents=True)
    publish(models["a"], tmp_path)
    (tmp_path / "m" / "7").mkdir()
    with pytest.raises(Refused, match="is not a version that tapeline published"):
        publish(models["b"], tmp_path)
    (tmp_path / "models.config").write_text("model_config_list: {")
    with pytest.raises(Refused, match=r"models\.config: is not a model_config_list"):
        live(tmp_path)


def test_what_is_live_needs_no_lock(models: dict[str, Path], tmp_path: Path) -> None:
    publish(models["a"], tmp_path)
    with files.locked(tmp_path / ".lock", seconds=0, what="x"):
        assert publish(models["a"], tmp_path, lock_seconds=0.1)[1] is False


def test_a_lock_is_waited_for_and_then_named(models: dict[str, Path], tmp_path: Path) -> None:
    with files.locked(tmp_path / ".lock", seconds=0, what="x"), pytest.raises(Refused, match="the lock of the store"):
        publish(models["a"], tmp_path, lock_seconds=0.1)


def test_a_servable_answers_batches_and_names_its_version(models: dict[str, Path]) -> None:
    predict = servable.load(models["a"])
    for rows in (1, 2, 1000):
        answer = predict(np.ones((rows, 3), np.float32))
        assert answer["prediction"].shape == (rows,)
        assert answer["prediction"].dtype == np.int64
        assert answer["probability"].shape == (rows, 2)
        assert answer["probability"].dtype == np.float64
        assert answer["model_version"].tolist() == [b"a" * 12] * rows
    servable.verify(models["a"])


def test_the_warm_up_is_what_tf_serving_reads(models: dict[str, Path]) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    from tapeline import tensorflow as tf

    records = list(tf.load().data.TFRecordDataset(str(models["a"] / servable.WARM_UP)).as_numpy_iterator())
    log = prediction_log_pb2.PredictionLog.FromString(records[0])
    assert len(records) == 1
    assert log.predict_log.request.model_spec.name == "m"
    assert log.predict_log.request.model_spec.signature_name == "serving_default"
    assert [dim.size for dim in log.predict_log.request.inputs["predictors"].tensor_shape.dim] == [2, 3]


def test_the_serving_name_is_part_of_the_model_version() -> None:
    assert "serving.name" in conf.flat(conf.plain(lookup.configure([]), places=False))
