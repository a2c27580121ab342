from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tapeline.serving.servers.tensorflow_model_server import parse
from tests.conftest import Tapeline, subprocess_tapeline


def path_with_tool(folder: Path, name: str, image: bool) -> str:
    """A PATH with a fake docker that prints its arguments; `image`: whether it has the image."""
    path = folder / "bin" / name
    path.parent.mkdir()
    inspect = "" if image else "if sys.argv[1:3] == ['image', 'inspect']: sys.exit(1)\n"
    path.write_text(f"#!{sys.executable}\nimport sys\n{inspect}print('\\n'.join(sys.argv[1:]))\n")
    path.chmod(0o755)
    return f"{path.parent}{os.pathsep}{os.environ['PATH']}"


def test_tf_serving_gets_the_store_and_the_ports(folder: Path) -> None:
    (folder / "store").mkdir()
    (folder / "store" / "models.config").write_text("model_config_list {}")
    environment = {**os.environ, "PATH": path_with_tool(folder, "docker", image=True)}
    arguments = ["serve", "serving.engine=tfserving", "serving.rest_port=8601"]
    done = subprocess_tapeline(*arguments, cwd=folder, env=environment)
    printed = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert "--publish=127.0.0.1:8601:8501" in printed
    assert f"--volume={folder}/store:{folder}/store:ro" in printed
    flags = printed[printed.index("tensorflow/serving:2.20.0") + 1 :]
    assert parse(flags).model_config_file == f"{folder}/store/models.config"


@pytest.mark.parametrize(
    ("image", "message"), [(False, "is not on this machine; pull it"), (True, "models.config: does not exist")]
)
def test_a_missing_image_or_models_config_is_refused(folder: Path, image: bool, message: str) -> None:
    environment = {**os.environ, "PATH": path_with_tool(folder, "docker", image=image)}
    done = subprocess_tapeline("serve", "serving.engine=tfserving", cwd=folder, env=environment)
    assert done.returncode == 2
    assert message in done.stderr


def test_it_is_refused_without_docker_and_podman(tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, err = tapeline("serve", "serving.engine=tfserving")
    assert (code, "neither docker nor podman is installed" in err) == (2, True)
