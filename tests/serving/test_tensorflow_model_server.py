from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tapeline.errors import Refused
from tapeline.serving.servers import tensorflow_model_server as stand_in
from tests.serving.servables import http, pin, until, write


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "no model is named"),
        (["--model_base_path=/x", "--prot=1"], r"--prot=1: unknown flag; did you mean --port\?"),
        (["--model_base_path=/x", "--port=many"], "invalid int value"),
        (["--model_base_path=/x", "stray"], "stray: unknown flag"),
    ],
)
def test_refused_flags(flags: list[str], said: str) -> None:
    with pytest.raises(Refused, match=said):
        stand_in.parse(flags)


def test_flags_as_tf_servings_image_gives_them() -> None:
    model = ["--port=8500", "--rest_api_port=8501", "--model_name=m", "--model_base_path=/models/m"]
    others = ["--enable_batching", "--rest_api_timeout_in_ms", "100", "--enable_model_warmup=false"]
    flags = stand_in.parse([*model, *others, "--file_system_poll_wait_seconds=5"])
    assert (flags.port, flags.rest_api_port, flags.model_name) == (8500, 8501, "m")
    assert stand_in.seconds(flags) == 5
    assert stand_in.seconds(stand_in.parse(["--model_config_file=/c"])) == 0, "a file is read once by default"


def test_metrics_need_a_monitoring_config(tmp_path: Path) -> None:
    config = tmp_path / "monitoring.config"
    config.write_text('prometheus_config { enable: true, path: "/metrics" }')
    assert stand_in.metrics(str(config)) == "/metrics"
    config.write_text("prometheus_config { enable: false }")
    assert stand_in.metrics(str(config)) is None
    assert stand_in.metrics("") is None
    with pytest.raises(Refused, match="cannot be read"):
        stand_in.metrics(str(tmp_path / "none"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_the_process_serves_until_sigterm_and_another_is_refused_its_port(tmp_path: Path) -> None:
    write(tmp_path / "m" / "1", "aaaaaaaaaaaa")
    pin(tmp_path, m=1)
    port, rest_port = free_port(), free_port()
    words = [sys.executable, "-m", "tapeline.serving.servers.tensorflow_model_server", f"--port={port}"]
    words += [f"--rest_api_port={rest_port}", f"--model_config_file={tmp_path / 'models.config'}"]
    server = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ})

    def ready() -> bool:
        assert server.poll() is None
        try:
            return http(rest_port, "/v1/models/m/metadata")[0] == 200
        except OSError:
            return False

    try:
        until(ready, seconds=120)
        second = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert (second.returncode, second.stderr) == (
            2,
            f"tensorflow_model_server: --port={port}: the port is in use; stop what uses it, or set another\n",
        )
        assert http(rest_port, "/v1/models/m:predict", {"instances": [[1, 2, 3]]})[0] == 200
    finally:
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=60)
    assert server.returncode == 0
    assert "m version 1 is live" in said
    assert "Traceback" not in said
