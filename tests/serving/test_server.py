from __future__ import annotations

import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tapeline import tensorflow as tf
from tapeline.errors import Refused
from tapeline.serving.servers import server
from tapeline.serving.servers.manager import Manager
from tapeline.serving.servers.server import Server, follow_store
from tests.serving.servables import http, pin, running, until


def stubs(running_server: Server) -> tuple[Any, Any]:
    channel = grpc.insecure_channel(f"localhost:{running_server.grpc_port}", [("grpc.max_send_message_length", -1)])
    return prediction_service_pb2_grpc.PredictionServiceStub(channel), model_service_pb2_grpc.ModelServiceStub(channel)


def request(rows: Any, **spec: Any) -> Any:
    """A PredictRequest as in TF Serving's documentation."""
    message = predict_pb2.PredictRequest()
    message.model_spec.name = spec.get("name", "m")
    message.model_spec.signature_name = "serving_default"
    if "version" in spec:
        message.model_spec.version.value = spec["version"]
    message.inputs["predictors"].CopyFrom(tf.load().make_tensor_proto(np.asarray(rows, np.float32)))
    return message


def error_of(call: Any, message: Any) -> tuple[str, str]:
    """The status code and the details of a call that fails."""
    with pytest.raises(grpc.RpcError) as raised:
        call(message, 10)
    return raised.value.code().name, raised.value.details()


def test_grpc_returns_each_output_in_the_field_of_its_type(served: Server) -> None:
    answer = stubs(served)[0].Predict(request([[1, 2, 3], [-1, -2, -3]]), 10)
    assert list(answer.outputs["prediction"].int64_val) == [1, 0]
    assert list(answer.outputs["model_version"].string_val) == [b"aaaaaaaaaaaa"] * 2
    assert [dim.size for dim in answer.outputs["probability"].tensor_shape.dim] == [2, 2]
    assert sum(answer.outputs["probability"].double_val[:2]) == pytest.approx(1)
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("m", 1, "serving_default")


def test_the_output_filter_selects_outputs(served: Server) -> None:
    message = request([[1, 2, 3]])
    message.output_filter.append("prediction")
    assert list(stubs(served)[0].Predict(message, 10).outputs) == ["prediction"]
    message.output_filter.append("colour")
    code, details = error_of(stubs(served)[0].Predict, message)
    assert code == "INVALID_ARGUMENT"
    assert "output tensor alias not found in signature: colour" in details


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_batches_have_the_same_predictions_over_both_apis(served: Server, size: int) -> None:
    rows = np.random.default_rng(size).normal(size=(size, 3)).astype(np.float32)
    expected = (rows.sum(axis=1) > 0).astype(int).tolist()
    answer = stubs(served)[0].Predict(request(rows), 10)
    assert list(answer.outputs["prediction"].int64_val) == expected
    status, response = http(served.rest_port, "/v1/models/m:predict", {"instances": rows.tolist()})
    assert status == 200
    assert [row["prediction"] for row in response["predictions"]] == expected
    assert set(response["predictions"][0]) == {"prediction", "probability", "model_version"}
    _, response = http(served.rest_port, "/v1/models/m/versions/1:predict", {"inputs": rows.tolist()})
    assert response["outputs"]["prediction"] == expected
    assert response["outputs"]["model_version"] == ["aaaaaaaaaaaa"] * size


def test_grpc_errors_have_tf_servings_code_and_details(served: Server) -> None:
    predict = stubs(served)[0].Predict
    assert error_of(predict, request([[1, 2, 3]], name="nope")) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(nope)",
    )
    assert error_of(predict, request([[1, 2, 3]], version=9))[1].endswith("Specific(m, 9)")
    code, details = error_of(predict, request([[1, 2]]))
    assert (code, "has shape [1,2]; the signature serving_default expects [-1,3]" in details) == (
        "INVALID_ARGUMENT",
        True,
    )
    message = request([[1, 2, 3]])
    message.inputs["age"].CopyFrom(message.inputs.pop("predictors"))
    code, details = error_of(predict, message)
    assert "Sent extra: {age}. Missing but required: {predictors}." in details
    message = predict_pb2.PredictRequest()
    assert error_of(predict, message) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    message = request([[1, 2, 3]])
    message.inputs["predictors"].tensor_shape.dim[0].size = 10**12
    assert error_of(predict, message)[0] == "INVALID_ARGUMENT"
    message = request([[1, 2, 3]])
    message.model_spec.signature_name = "no"
    assert error_of(predict, message) == ("FAILED_PRECONDITION", 'Serving signature key "no" not found.')


def test_grpc_metadata_and_status(served: Server) -> None:
    prediction, model = stubs(served)
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    message.model_spec.name = "m"
    answer = prediction.GetModelMetadata(message, 10)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_default"].inputs["predictors"].tensor_shape.dim[1].size == 3
    assert answer.model_spec.version.value == 1
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = "m"
    (status,) = model.GetModelStatus(message, 10).model_version_status
    assert (status.version, status.State.Name(status.state), status.status.error_code) == (1, "AVAILABLE", 0)
    assert error_of(prediction.Classify, classification_pb2.ClassificationRequest())[0] == "UNIMPLEMENTED"


def test_a_large_request_is_refused_and_the_next_one_is_answered(served: Server) -> None:
    status, response = http(served.rest_port, "/v1/models/m:predict", b" " * 100_000_000)
    assert (status, response["error"]) == (413, "the request is larger than 64 MiB; send fewer rows per request")
    message = request([[1, 2, 3]])
    message.inputs["predictors"].tensor_content = b" " * 100_000_000
    assert error_of(stubs(served)[0].Predict, message)[0] == "RESOURCE_EXHAUSTED"
    assert http(served.rest_port, "/v1/models/m:predict", {"instances": [[1, 2, 3]]})[0] == 200
    assert stubs(served)[0].Predict(request([[1, 2, 3]]), 10).model_spec.version.value == 1


def test_no_request_fails_while_versions_change(folder_store: Path) -> None:
    pin(folder_store, m=1)
    with running(follow_store(str(folder_store))) as started:
        until(lambda: http(started.rest_port, "/v1/models/m/metadata")[0] == 200)
        stop, responses, failures = threading.Event(), [], []  # type: threading.Event, list[Any], list[Any]

        def client(number: int) -> None:
            predict = stubs(started)[0].Predict
            while not stop.is_set():
                try:
                    if number % 2:
                        answer = predict(request([[1, 1, 1]]), 10)
                        found = (
                            answer.model_spec.version.value,
                            answer.outputs["model_version"].string_val[0].decode(),
                        )
                    else:
                        status, body = http(started.rest_port, "/v1/models/m:predict", {"instances": [[1, 1, 1]]})
                        found = (status, body["predictions"][0]["model_version"])
                    responses.append(found)
                except Exception as error:
                    failures.append(error)

        clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
        for each in clients:
            each.start()
        for number in (2, 1, 2, 1, 2):
            pin(folder_store, m=number)
            until(lambda number=number: _live(started) == {number})  # type: ignore[misc]
        stop.set()
        for each in clients:
            each.join()
    assert not failures
    assert len(responses) > 20
    assert set(responses) == {(1, "aaaaaaaaaaaa"), (2, "bbbbbbbbbbbb"), (200, "aaaaaaaaaaaa"), (200, "bbbbbbbbbbbb")}


def _live(server: Server) -> set[int]:
    statuses = http(server.rest_port, "/v1/models/m")[1]["model_version_status"]
    return {int(each["version"]) for each in statuses if each["state"] != "END"}


def test_the_server_is_alive_with_an_empty_store_but_not_ready(folder_store: Path) -> None:
    with running(follow_store(str(folder_store))) as started:
        socket.create_connection(("127.0.0.1", started.grpc_port), 5).close()
        assert http(started.rest_port, "/v1/models/m/metadata")[0] == 404
        (folder_store / "models.config").write_text("")
        assert http(started.rest_port, "/v1/models/m")[0] == 404
        pin(folder_store, m=2)
        until(lambda: http(started.rest_port, "/v1/models/m/metadata")[0] == 200)


def test_the_live_version_stays_live_where_another_or_the_config_is_broken(
    folder_store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder_store / "m" / "3").mkdir()
    (folder_store / "m" / "3" / "saved_model.pb").write_bytes(b"no model")
    shutil.copytree(folder_store / "m" / "2", folder_store / "m" / "4")
    next((folder_store / "m" / "4" / "variables").glob("*.data*")).write_bytes(b"")
    shutil.copytree(folder_store / "m" / "2", folder_store / "m" / "5")
    (folder_store / "m" / "5" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no records " * 9)
    pin(folder_store, m=1)
    config = folder_store / "models.config"
    good = config.read_text()
    with running(follow_store(str(folder_store))) as started:

        def live() -> int:
            return int(http(started.rest_port, "/v1/models/m/metadata")[1]["model_spec"]["version"])

        until(lambda: http(started.rest_port, "/v1/models/m/metadata")[0] == 200)
        for number in (3, 4, 5, 6):
            pin(folder_store, m=number)
            until(lambda number=number: f"m version {number} is not served" in caplog.text)  # type: ignore[misc]
            assert live() == 1
        status = http(started.rest_port, "/v1/models/m/versions/3")[1]["model_version_status"][0]
        assert (status["state"], status["status"]["error_code"]) == ("END", "INVALID_ARGUMENT")
        config.write_text("model_config_list { nonsense")
        until(lambda: "is not TF Serving's model_config_list" in caplog.text)
        config.unlink()
        until(lambda: "models.config does not exist" in caplog.text)
        shutil.rmtree(folder_store / "m" / "1")
        config.write_text(good)
        assert live() == 1
        assert http(started.rest_port, "/v1/models/m:predict", {"instances": [[1, 2, 3]]})[0] == 200
        assert "Traceback" not in caplog.text
        assert len([each for each in caplog.messages if "m version 3" in each]) == 1, "logged once, not at every poll"
        config.write_text("model_config_list {}")
        until(lambda: http(started.rest_port, "/v1/models/m/metadata")[0] == 404)


def test_a_reload_request_replaces_the_configuration(folder_store: Path) -> None:
    pin(folder_store, m=1)
    with running(follow_store(str(folder_store)), seconds=0) as started:
        until(lambda: http(started.rest_port, "/v1/models/m/metadata")[0] == 200)
        message = model_management_pb2.ReloadConfigRequest()
        entry = message.config.model_config_list.config.add(
            name="m", base_path=str(folder_store / "m"), model_platform="tensorflow"
        )
        entry.model_version_policy.specific.versions.extend([1, 2])
        assert stubs(started)[1].HandleReloadConfigRequest(message, 20).status.error_code == 0
        assert stubs(started)[0].Predict(request([[1, 1, 1]]), 10).model_spec.version.value == 2
        assert stubs(started)[0].Predict(request([[1, 1, 1]], version=1), 10).model_spec.version.value == 1
        entry.model_version_policy.specific.versions.append(9)
        status = stubs(started)[1].HandleReloadConfigRequest(message, 20).status
        assert "m version 9 is not served" in status.error_message


def test_a_reload_request_is_refused_where_other_machines_reach_the_server(
    folder_store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pin(folder_store, m=1)
    listen = server.ListenAddress("0.0.0.0", 0, 0)
    started = Server(listen, Manager(1), follow_store(str(folder_store)), 0)
    try:
        until(lambda: http(started.rest_port, "/v1/models/m/metadata")[0] == 200)
        message = model_management_pb2.ReloadConfigRequest()
        message.config.model_config_list.SetInParent()
        code, details = error_of(stubs(started)[1].HandleReloadConfigRequest, message)
        assert (code, "serving.reload=always" in details) == ("PERMISSION_DENIED", True)
        assert http(started.rest_port, "/v1/models/m/metadata")[0] == 200
        assert any(each.startswith("ipv") and "asked" in each for each in caplog.messages), "who asked"
    finally:
        started.stop()


def test_a_port_in_use_is_refused(folder_store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for listen in (server.ListenAddress("127.0.0.1", port, 0), server.ListenAddress("127.0.0.1", 0, port)):
            with pytest.raises(Refused, match=f"port={port}: the port is in use"):
                Server(listen, Manager(1), follow_store(str(folder_store)), 1)
            with pytest.raises(Refused, match=f"port={port}: the port is in use"):
                server.check_ports(listen)


def test_a_store_with_a_url_is_refused() -> None:
    with pytest.raises(Refused, match="the server reads local folders only"):
        follow_store("s3://bucket/models")


def test_a_server_in_this_process_needs_a_live_version_of_the_model(models: Path) -> None:
    with (
        pytest.raises(Refused, match=r"serving\.name=missing: is not served"),
        server.running(str(models), "missing", seconds=0.2),
    ):
        pytest.fail("nothing is live under this name")
    pin(models, half=123)
    with server.running(str(models), "half") as started:
        assert http(started.rest_port, "/v1/models/half/metadata")[0] == 200
