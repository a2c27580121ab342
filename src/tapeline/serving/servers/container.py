"""TF Serving itself on the same store, in a container.

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
    """Become the container's process; it ends with Ctrl-C.

    Raises:
        Refused: neither tool, or not the image, is on this machine, or the store has no models.config.
    """
    tool = next((found for each in TOOLS if (found := shutil.which(each))), None)
    if not tool:
        raise refuse("serving.engine=tfserving", "neither docker nor podman is here", "use serving.engine=tapeline")
    if subprocess.run([tool, "image", "inspect", IMAGE], capture_output=True, check=False).returncode:
        fix = f"fetch it with: {Path(tool).name} pull {IMAGE}"
        raise refuse("serving.engine=tfserving", f"the image {IMAGE} is not on this machine", fix)
    store = Path(serving.store).absolute()
    if not (store / "models.config").is_file():
        raise refuse(store / "models.config", "no such file", "publish a model first, or make it: tapeline store init")
    os.execv(tool, [tool, *command(serving, store)])


def command(serving: Serving, store: Path) -> list[str]:
    """What follows the tool's name. The store keeps its path inside: models.config names it."""
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
