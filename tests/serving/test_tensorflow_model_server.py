from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tapeline.errors import Refused
from tapeline.serving.servers import tensorflow_model_server
from tests.serving.servables import http, pin, until, write


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no model is named"),
        (["--model_base_path=/x", "--prot=1"], r"--prot=1: unknown flag; did you mean --port\?"),
        (["--model_base_path=/x", "--port=many"], "invalid int value"),
        (["--model_base_path=/x", "stray"], "stray: unknown flag"),
    ],
)
def test_flags_that_are_not_valid_are_refused(flags: list[str], message: str) -> None:
    with pytest.raises(Refused, match=message):
        tensorflow_model_server.parse(flags)


def test_the_flags_of_tf_servings_image_are_accepted() -> None:
    model = ["--port=8500", "--rest_api_port=8501", "--model_name=m", "--model_base_path=/models/m"]
    others = ["--enable_batching", "--rest_api_timeout_in_ms", "100", "--enable_model_warmup=false"]
    flags = tensorflow_model_server.parse([*model, *others, "--file_system_poll_wait_seconds=5"])
    assert (flags.port, flags.rest_api_port, flags.model_name) == (8500, 8501, "m")
    assert tensorflow_model_server.poll_seconds(flags) == 5
    assert tensorflow_model_server.poll_seconds(tensorflow_model_server.parse(["--model_config_file=/c"])) == 0, (
        "the config file is read once by default"
    )


def test_the_monitoring_config_sets_the_path_of_the_metrics(tmp_path: Path) -> None:
    config = tmp_path / "monitoring.config"
    config.write_text('prometheus_config { enable: true, path: "/metrics" }')
    assert tensorflow_model_server.metrics_path(str(config)) == "/metrics"
    config.write_text("prometheus_config { enable: false }")
    assert tensorflow_model_server.metrics_path(str(config)) is None
    assert tensorflow_model_server.metrics_path("") is None
    with pytest.raises(Refused, match="cannot be read"):
        tensorflow_model_server.metrics_path(str(tmp_path / "none"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_the_process_serves_until_sigterm_and_a_second_one_is_refused_its_port(tmp_path: Path) -> None:
    write(tmp_path / "m" / "1", "aaaaaaaaaaaa")
    pin(tmp_path, m=1)
    port, rest_port = free_port(), free_port()
    command = [sys.executable, "-m", "tapeline.serving.servers.tensorflow_model_server", f"--port={port}"]
    command += [f"--rest_api_port={rest_port}", f"--model_config_file={tmp_path / 'models.config'}"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ})

    def ready() -> bool:
        assert server.poll() is None
        try:
            return http(rest_port, "/v1/models/m/metadata")[0] == 200
        except OSError:
            return False

    try:
        until(ready, seconds=120)
        second = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert second.returncode == 2
        assert second.stderr.startswith(f"tensorflow_model_server: --port={port}: the port is in use")
        assert second.stderr.count("\n") == 1
        assert http(rest_port, "/v1/models/m:predict", {"instances": [[1, 2, 3]]})[0] == 200
    finally:
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=600)
    assert server.returncode == 0
    assert "m version 1 is live" in log
    assert "Traceback" not in log
