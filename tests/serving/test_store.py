from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from tapeline import config, files
from tapeline.errors import Refused
from tapeline.models.network import Network
from tapeline.models.network import servable as as_module
from tapeline.serving import servable, store


def model(folder: Path, version: str, weight: float = 1.0) -> Path:
    """A servable of one layer."""
    arrays = (np.full((3, 2), weight, np.float32), np.zeros(2, np.float32))
    about = {"name": "m", "model_version": version, "features": ["a", "b", "c"]}
    servable.write(as_module(Network("direction", arrays)), about, np.ones((2, 3), np.float32), folder / version)
    return folder / version


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: model(folder, name * 12) for name in "abc"}


def publish(made: Path, place: Path, name: str = "m") -> tuple[store.Version, bool]:
    return store.publish(made, place, name, lock_seconds=5)


def test_versions_count_up_and_models_config_names_the_last(models: dict[str, Path], tmp_path: Path) -> None:
    assert store.live(tmp_path, "m") is None
    first, written = publish(models["a"], tmp_path)
    assert (first.number, written) == (1, True)
    assert publish(models["b"], tmp_path)[0].number == 2
    publish(models["c"], tmp_path, "other")
    assert (
        (tmp_path / "models.config").read_text()
        == f"""model_config_list {{
  config {{
    name: "m"
    base_path: "{tmp_path}/m"
    model_platform: "tensorflow"
    model_version_policy {{
      specific {{
        versions: 2
      }}
    }}
  }}
  config {{
    name: "other"
    base_path: "{tmp_path}/other"
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
    assert store.live(tmp_path, "m") == store.Version("m", 2, "b" * 12)
    assert [each.number for each in store.versions(tmp_path, "m")] == [1, 2]
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(each["name"], each["number"], each["before"]) for each in log] == [
        ("m", 1, None),
        ("m", 2, 1),
        ("other", 1, None),
    ]


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
    assert len(store.versions(tmp_path, "m")) == 2


def test_a_damaged_model_never_gets_a_number(models: dict[str, Path], tmp_path: Path) -> None:
    publish(models["a"], tmp_path / "store")
    broken = tmp_path / "broken"
    shutil.copytree(models["b"], broken)
    (broken / "saved_model.pb").write_bytes(b"no protobuf")
    config_before = (tmp_path / "store" / "models.config").read_bytes()
    with pytest.raises(Refused, match="is not a servable that can be loaded"):
        publish(broken, tmp_path / "store")
    assert [each.number for each in store.versions(tmp_path / "store", "m")] == [1]
    assert (tmp_path / "store" / "models.config").read_bytes() == config_before
    assert not list((tmp_path / "store").rglob("*.partial"))


def test_two_publishers_take_two_numbers(models: dict[str, Path], tmp_path: Path) -> None:
    threads = [threading.Thread(target=publish, args=(models[name], tmp_path)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.model_version for each in store.versions(tmp_path, "m")} == {"a" * 12, "b" * 12}


def test_strangers_in_the_store(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "m" / "lost+found").mkdir(parents=True)
    publish(models["a"], tmp_path)
    (tmp_path / "m" / "7").mkdir()
    with pytest.raises(Refused, match="is not a version that tapeline published"):
        publish(models["b"], tmp_path)
    (tmp_path / "models.config").write_text("model_config_list: {")
    with pytest.raises(Refused, match=r"models\.config: is not TF Serving's model_config_list"):
        store.live(tmp_path, "m")


def test_a_lock_is_waited_for_and_then_named(models: dict[str, Path], tmp_path: Path) -> None:
    with (
        files.locked(tmp_path / ".lock", seconds=0, what="x"),
        pytest.raises(Refused, match="held the lock of the store"),
    ):
        store.publish(models["a"], tmp_path, "m", lock_seconds=0.1)


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

    from tapeline import tf

    records = list(tf.load().data.TFRecordDataset(str(models["a"] / servable.WARM_UP)).as_numpy_iterator())
    log = prediction_log_pb2.PredictionLog.FromString(records[0])
    assert len(records) == 1
    assert log.predict_log.request.model_spec.name == "m"
    assert log.predict_log.request.model_spec.signature_name == "serving_default"
    assert [dim.size for dim in log.predict_log.request.inputs["predictors"].tensor_shape.dim] == [2, 3]


def test_the_serving_name_is_part_of_the_model_version() -> None:
    assert "serving.name" in config.flat(config.plain(config.compose([]), places=False))
