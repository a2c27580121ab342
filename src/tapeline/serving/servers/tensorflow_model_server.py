"""The local server under TF Serving's command line, so that it can stand in for it.

    python -m tapeline.serving.servers.tensorflow_model_server --port=8500 --rest_api_port=8501 \
        --model_config_file=store/models.config --model_config_file_poll_wait_seconds=1

Flags are written --name=value or --name value, booleans --name or --name=false, as there.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tapeline.errors import Refused, nearest, refuse
from tapeline.serving.models_config import Wanted
from tapeline.serving.servers import server
from tapeline.serving.servers.rest import METRICS
from tapeline.serving.servers.versions import Versions

log = logging.getLogger(__name__)

THREADS = 2
"""TensorFlow's, for one operation."""
WITHOUT_EFFECT = (
    *("enable_batching", "batching_parameters_file", "rest_api_num_threads", "rest_api_timeout_in_ms"),
    *("grpc_max_threads", "grpc_channel_arguments", "num_load_threads", "num_unload_threads"),
    *("max_num_load_retries", "load_retry_interval_micros", "flush_filesystem_caches", "enable_model_warmup"),
    *("tensorflow_inter_op_parallelism", "per_process_gpu_memory_fraction", "saved_model_tags"),
    *("allow_version_labels_for_unavailable_models", "enable_grpc_healthcheck_service", "enable_cors_support"),
    *("tensorflow_session_parallelism", "remove_unused_fields_from_bundle_metagraph"),
)
"""Flags that change no answer here; they are taken and said to be without effect."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 2 where a flag or a port is refused."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        flags = parse(list(sys.argv[1:] if arguments is None else arguments))
        listen = server.Listen(
            "0.0.0.0",  # noqa: S104  # as TF Serving listens
            flags.port,
            flags.rest_api_port or None,
            keys=("--port", "--rest_api_port"),
            metrics=metrics(flags.monitoring_config_file),
        )
        threads = flags.tensorflow_intra_op_parallelism or THREADS
        server.serve(listen, what_to_poll(flags), seconds=seconds(flags), threads=threads)
    except Refused as error:
        print(*(f"tensorflow_model_server: {finding}" for finding in error.findings), sep="\n", file=sys.stderr)
        return 2
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """The flags.

    Raises:
        Refused: one is unknown or has no such value, or no model is named.
    """
    parser = argparse.ArgumentParser("tensorflow_model_server", allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--port", type=int, default=8500)
    parser.add_argument("--rest_api_port", type=int, default=0, help="0: no REST")
    parser.add_argument("--model_config_file", default="")
    parser.add_argument("--model_config_file_poll_wait_seconds", type=float, default=0, help="0: read once")
    parser.add_argument("--model_name", default="default")
    parser.add_argument("--model_base_path", default="")
    parser.add_argument("--file_system_poll_wait_seconds", type=float, default=1, help="0: look once")
    parser.add_argument("--monitoring_config_file", default="")
    parser.add_argument("--tensorflow_intra_op_parallelism", type=int, default=0)
    for name in WITHOUT_EFFECT:
        parser.add_argument(f"--{name}", nargs="?", const="true")
    try:
        flags, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise refuse(str(error.argument_name), error.message, "see TF Serving's flags") from None
    if rest:
        known = [option for action in parser._actions for option in action.option_strings]
        near = nearest(rest[0].partition("=")[0], known, otherwise="leave it out")
        raise refuse(rest[0], "unknown flag", near)
    if not flags.model_config_file and not flags.model_base_path:
        raise refuse("--model_base_path", "no model is named", "set it, or --model_config_file")
    for name in WITHOUT_EFFECT:
        if getattr(flags, name) is not None:
            log.info("--%s has no effect here", name)
    return flags


def seconds(flags: argparse.Namespace) -> float:
    """Between two polls; 0 is once."""
    given = (
        flags.model_config_file_poll_wait_seconds if flags.model_config_file else flags.file_system_poll_wait_seconds
    )
    return max(float(given), 0.0)


def what_to_poll(flags: argparse.Namespace) -> Callable[[Versions], None]:
    """Follow a models.config, or the latest version of one model."""
    if flags.model_config_file:
        path = Path(flags.model_config_file)
        return lambda versions: versions.follow(path)
    if "://" in flags.model_base_path:
        raise refuse("--model_base_path", f"{flags.model_base_path} is no local folder", "copy it first")
    wanted = {flags.model_name: Wanted(flags.model_name, Path(flags.model_base_path))}
    return lambda versions: versions.want(wanted)


def metrics(file: str) -> str | None:
    """The path of the metrics that a monitoring_config_file (prometheus_config) enables.

    Raises:
        Refused: the file cannot be read.
    """
    if not file:
        return None
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise refuse("--monitoring_config_file", f"{file} cannot be read ({error})", "name another") from None
    path = re.search(r"""path\s*:\s*["']([^"']+)["']""", text)
    enabled = re.search(r"enable\s*:\s*true", text)
    return (path[1] if path else METRICS) if enabled else None


if __name__ == "__main__":
    sys.exit(main())
