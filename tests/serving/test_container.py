from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tapeline.serving.servers.tensorflow_model_server import parse
from tests.conftest import Tapeline, subprocess_tapeline


def tool(folder: Path, name: str, image: bool) -> str:
    """A docker that prints what it is told to run."""
    path = folder / "bin" / name
    path.parent.mkdir()
    inspect = "" if image else "if sys.argv[1:3] == ['image', 'inspect']: sys.exit(1)\n"
    path.write_text(f"#!{sys.executable}\nimport sys\n{inspect}print('\\n'.join(sys.argv[1:]))\n")
    path.chmod(0o755)
    return f"{path.parent}{os.pathsep}{os.environ['PATH']}"


def test_tf_serving_runs_on_the_same_store(folder: Path) -> None:
    (folder / "store").mkdir()
    (folder / "store" / "models.config").write_text("model_config_list {}")
    environment = {**os.environ, "PATH": tool(folder, "docker", image=True)}
    line = ["serve", "serving.engine=tfserving", "serving.rest_port=8601"]
    done = subprocess_tapeline(*line, cwd=folder, env=environment)
    words = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert "--publish=127.0.0.1:8601:8501" in words
    assert f"--volume={folder}/store:{folder}/store:ro" in words
    flags = words[words.index("tensorflow/serving:2.20.0") + 1 :]
    assert parse(flags).model_config_file == f"{folder}/store/models.config"


@pytest.mark.parametrize(
    ("image", "says"), [(False, "is not on this machine; fetch it"), (True, "models.config: no such")]
)
def test_what_is_missing_is_said(folder: Path, image: bool, says: str) -> None:
    environment = {**os.environ, "PATH": tool(folder, "docker", image=image)}
    done = subprocess_tapeline("serve", "serving.engine=tfserving", cwd=folder, env=environment)
    assert done.returncode == 2
    assert says in done.stderr


def test_without_docker_and_podman(tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, err = tapeline("serve", "serving.engine=tfserving")
    assert (code, "neither docker nor podman is here" in err) == (2, True)
