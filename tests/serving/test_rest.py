from __future__ import annotations

import json
import re
import socket
from typing import Any

import numpy as np
import pytest

from tapeline.serving.servers.server import Server
from tests.serving.servables import http


def test_rest_answers_as_tf_serving_documents(served: Server) -> None:
    def ask(body: Any) -> tuple[int, Any]:
        return http(served.rest_port, "/v1/models/half:predict", body)

    assert ask({"instances": [1.0, 2.0, 5.0]}) == (200, {"predictions": [3.5, 4.0, 5.5]})
    assert ask({"instances": [{"x": 1}, {"x": 2.0}]}) == (200, {"predictions": [3.5, 4.0]})
    assert ask({"inputs": [1.0, 2.0]}) == (200, {"outputs": [3.5, 4.0]})
    assert ask({"inputs": {"x": [0.4]}}) == (200, {"outputs": [3.2]}), "float32 is written as short as it reads"
    assert ask(b'{"instances": [Infinity, -Infinity]}')[1] == {"predictions": [float("inf"), float("-inf")]}
    status, told = ask(b'{"instances": [NaN]}')
    assert status == 200
    assert np.isnan(told["predictions"][0])


def test_rest_strings_and_several_inputs(served: Server) -> None:
    rows = [{"x": 1, "s": "caf\u00e9"}, {"x": 2, "s": {"b64": "/w=="}}]
    status, told = http(served.rest_port, "/v1/models/half:predict", {"signature_name": "both", "instances": rows})
    assert status == 200
    assert told["predictions"] == [
        {"s": "caf\u00e9", "s_bytes": {"b64": "Y2Fmw6k="}, "x": 1.0},
        {"s": {"b64": "/w=="}, "s_bytes": {"b64": "/w=="}, "x": 2.0},
    ]


def test_rest_status_and_metadata(served: Server) -> None:
    status, told = http(served.rest_port, "/v1/models/half")
    assert status == 200
    assert told == {
        "model_version_status": [
            {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    _, told = http(served.rest_port, "/v1/models/m/versions/1/metadata")
    assert told["model_spec"] == {"name": "m", "signature_name": "", "version": "1"}
    signature = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["predictors"]["dtype"] == "DT_FLOAT"
    assert signature["inputs"]["predictors"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}, {"size": "3", "name": ""}],
        "unknown_rank": False,
    }


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("nope:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(nope)"),
        ("m/versions/7:predict", {"instances": [1]}, 404, "Servable not found for request: Specific(m, 7)"),
        ("nope", None, 404, "Could not find any versions of model nope"),
        ("m/versions/7", None, 404, "Could not find version 7 of model m"),
        ("nope/metadata", None, 404, "Servable not found for request: Latest(nope)"),
        ("m/labels/stable:predict", {"instances": [1]}, 400, "Unrecognized servable version label: stable"),
        ("m:explain", {}, 400, "Malformed request: POST /v1/models/m:explain"),
        ("m:classify", {}, 501, "only predict is served; classify is not"),
        ("m:predict", b"", 400, "The document is empty"),
        ("m:predict", b"{", 400, "JSON Parse error: "),
        ("m:predict", b"\xff", 400, "JSON Parse error: "),
        ("m:predict", b"[" * 200_000, 400, "JSON Parse error: "),
        ("m:predict", [], 400, "JSON Value: Is not object"),
        ("m:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("m:predict", {"inputs": [], "instances": []}, 400, "expecting only one of 'inputs' or 'instances'"),
        ("m:predict", {"instances": 1}, 400, "Excepting 'instances' to be an list/array"),
        ("m:predict", {"instances": []}, 400, "No values in 'instances' array"),
        ("m:predict", {"instances": [[1, 2]]}, 400, "has shape [1,2]; the signature serving_default wants [-1,3]"),
        ("m:predict", {"instances": [[1, 2, 3], [1]]}, 400, "Encountered list at unexpected size: 1 at level: 1"),
        ("m:predict", {"instances": [[1, 2, "3"]]}, 400, 'Value: "3" Type: String is not of expected type: float'),
        ("m:predict", {"instances": [[1, 2, None]]}, 400, "Type: Null is not of expected type: float"),
        ("m:predict", {"instances": [[1, 2, True]]}, 400, "Type: True is not of expected type: float"),
        ("m:predict", {"instances": [[1, 2, 1e39]]}, 400, "1e+39 to float without loss of precision"),
        ("m:predict", {"instances": [{"x": [1, 2, 3]}]}, 400, "Keys must be equal to: predictors"),
        ("m:predict", {"inputs": {"x": [[1, 2, 3]]}}, 400, "Missing named input: predictors in 'inputs' object."),
        ("m:predict", {"signature_name": "no", "instances": [1]}, 400, 'Serving signature key "no" not found.'),
        ("half:predict", {"signature_name": "both", "instances": [1]}, 400, "expecting list of objects"),
    ],
)
def test_rest_errors(served: Server, path: str, body: Any, status: int, said: str) -> None:
    found, told = http(served.rest_port, f"/v1/models/{path}", body)
    assert (found, list(told)) == (status, ["error"])
    assert said in told["error"]


def test_what_is_no_http_leaves_the_server_standing(served: Server) -> None:
    for text in (b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"POST /v1/models/m:pre"):
        with socket.create_connection(("127.0.0.1", served.rest_port or 0), 5) as connection:
            connection.sendall(text)
    assert http(served.rest_port, "/v1/models/m/metadata")[0] == 200
    assert http(served.rest_port, "/")[0] == 404


def test_metrics_under_tf_servings_names(served: Server) -> None:
    import urllib.request

    def page() -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{served.rest_port}/monitoring/prometheus/metrics") as response:
            lines = [line for line in response.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    before = page()
    for rows in ([[1, 2, 3]], [[1, 2, 3]], [[1]]):
        http(served.rest_port, "/v1/models/m:predict", {"instances": rows})
    after = page()

    def more(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert more(':tensorflow:serving:request_count{model_name="m",status="OK"}') == 2
    assert more(':tensorflow:serving:request_count{model_name="m",status="INVALID_ARGUMENT"}') == 1
    labels = 'API="predict",entrypoint="REST",model_name="m"'
    whole = ',le="+Inf",model'
    assert more(f":tensorflow:serving:request_latency_count{{{labels}}}") == 3
    assert more(f":tensorflow:serving:request_latency_bucket{{{labels.replace(',model', whole)}}}") == 3
    bounds = {float(found[1]) for name in after if (found := re.search(r'_bucket.*le="([^"]+)"', name))}
    assert {10, 18, 708235} < bounds
    assert not any(re.match(r":\w+(_total|_created)\b", name) for name in after)


def test_json_of_errors_is_json(served: Server) -> None:
    status, told = http(served.rest_port, '/v1/models/m"%22%0a:predict', {"instances": [1]})
    assert status == 404
    assert json.loads(json.dumps(told)) == {"error": 'Servable not found for request: Latest(m""\n)'}
