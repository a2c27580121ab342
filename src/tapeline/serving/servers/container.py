"""Run TF Serving itself in a container, on the same store.

tapeline serve serving.engine=tfserving
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

from tapeline.config.schema import Serving
from tapeline.errors import refuse

IMAGE = "tensorflow/serving:2.20.0"
TOOLS = ("docker", "podman")


def run(serving: Serving) -> NoReturn:
    """Replace this process by the container's, which runs until Ctrl-C.

    Raises:
        Refused: docker and podman are not installed, the image is not pulled, or the store has no models.config.
    """
    tool = next((found for each in TOOLS if (found := shutil.which(each))), None)
    if not tool:
        problem, fix = "neither docker nor podman is installed", "install one, or set serving.engine=tapeline"
        raise refuse("serving.engine=tfserving", problem, fix)
    if subprocess.run([tool, "image", "inspect", IMAGE], capture_output=True, check=False).returncode:
        fix = f"pull it with: {Path(tool).name} pull {IMAGE}"
        raise refuse("serving.engine=tfserving", f"the image {IMAGE} is not on this machine", fix)
    store = Path(serving.store).absolute()
    if not (store / "models.config").is_file():
        fix = "publish a model first, or create an empty store: tapeline store init"
        raise refuse(store / "models.config", "does not exist", fix)
    os.execv(tool, [tool, *command(serving, store)])


def command(serving: Serving, store: Path) -> list[str]:
    """The arguments of docker or podman. The store is mounted at its own path, which models.config contains."""
    return [
        *("run", "--rm", "--read-only", "--cap-drop=ALL", f"--user={os.getuid()}"),
        f"--publish={serving.host}:{serving.grpc_port}:8500",
        f"--publish={serving.host}:{serving.rest_port}:8501",
        f"--volume={store}:{store}:ro",
        "--entrypoint=tensorflow_model_server",
        IMAGE,
        *("--port=8500", "--rest_api_port=8501"),
        f"--model_config_file={store}/models.config",
        f"--model_config_file_poll_wait_seconds={max(1, round(serving.poll_seconds))}",
    ]
