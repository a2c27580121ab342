"""The server with the command line of TF Serving's tensorflow_model_server, as a replacement for it.

    python -m tapeline.serving.servers.tensorflow_model_server --port=8500 --rest_api_port=8501 \
        --model_config_file=store/models.config --model_config_file_poll_wait_seconds=1

Flags are written as there: --name=value or --name value; boolean flags --name or --name=false.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tapeline.errors import Refused, nearest, refuse
from tapeline.serving.models_config import ModelConfig
from tapeline.serving.servers import server, tls
from tapeline.serving.servers.manager import Manager
from tapeline.serving.servers.rest import METRICS

log = logging.getLogger(__name__)

THREADS = 2
"""TensorFlow's threads for one operation (intra_op_parallelism), where no flag sets them."""
IGNORED = (
    *("enable_batching", "batching_parameters_file", "rest_api_num_threads", "rest_api_timeout_in_ms"),
    *("grpc_max_threads", "grpc_channel_arguments", "num_load_threads", "num_unload_threads"),
    *("max_num_load_retries", "load_retry_interval_micros", "flush_filesystem_caches", "enable_model_warmup"),
    *("tensorflow_inter_op_parallelism", "per_process_gpu_memory_fraction", "saved_model_tags"),
    *("allow_version_labels_for_unavailable_models", "enable_grpc_healthcheck_service", "enable_cors_support"),
    *("tensorflow_session_parallelism", "remove_unused_fields_from_bundle_metagraph"),
)
"""Flags of TF Serving that are accepted but have no effect here, which a log line says."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code, 2 where a flag or a port is refused."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        flags = parse(list(sys.argv[1:] if arguments is None else arguments))
        listen = server.ListenAddress(
            "0.0.0.0",  # noqa: S104  # TF Serving listens on all interfaces, too
            flags.port,
            flags.rest_api_port or None,
            keys=("--port", "--rest_api_port"),
            metrics=metrics_path(flags.monitoring_config_file),
            tls=tls.of_tf_serving(flags.ssl_config_file),
            reload=flags.allow_reload not in (None, "false"),
        )
        threads = flags.tensorflow_intra_op_parallelism or THREADS
        server.serve(listen, poll_function(flags), seconds=poll_seconds(flags), threads=threads, loaded=True)
    except Refused as error:
        print(*(f"tensorflow_model_server: {finding}" for finding in error.findings), sep="\n", file=sys.stderr)
        return 2
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the flags.

    Raises:
        Refused: a flag is unknown, its value is not valid, or no model is named.
    """
    parser = argparse.ArgumentParser("tensorflow_model_server", allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--port", type=int, default=8500)
    parser.add_argument("--rest_api_port", type=int, default=0, help="0: no REST API")
    parser.add_argument("--model_config_file", default="")
    parser.add_argument("--model_config_file_poll_wait_seconds", type=float, default=0, help="0: read once")
    parser.add_argument("--model_name", default="default")
    parser.add_argument("--model_base_path", default="")
    parser.add_argument("--file_system_poll_wait_seconds", type=float, default=1, help="0: read once")
    parser.add_argument("--monitoring_config_file", default="")
    parser.add_argument("--ssl_config_file", default="", help="TLS of gRPC; REST is never encrypted")
    parser.add_argument("--tensorflow_intra_op_parallelism", type=int, default=0)
    parser.add_argument("--allow_reload", nargs="?", const="true", help="HandleReloadConfigRequest; not TF Serving's")
    for name in IGNORED:
        parser.add_argument(f"--{name}", nargs="?", const="true")
    try:
        flags, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise refuse(str(error.argument_name), error.message, "write it as in --port=8500") from None
    if rest:
        known = [option for action in parser._actions for option in action.option_strings]
        fix = nearest(rest[0].partition("=")[0], known, otherwise="remove it")
        raise refuse(rest[0], "unknown flag", fix)
    if not flags.model_config_file and not flags.model_base_path:
        fix = "set --model_base_path=/models/NAME, or --model_config_file=/models/models.config"
        raise refuse("--model_base_path", "no model is named", fix)
    for name in IGNORED:
        if getattr(flags, name) is not None:
            log.info("--%s has no effect here", name)
    return flags


def poll_seconds(flags: argparse.Namespace) -> float:
    """Seconds between two polls; 0: poll once."""
    config_seconds, folder_seconds = flags.model_config_file_poll_wait_seconds, flags.file_system_poll_wait_seconds
    return max(float(config_seconds if flags.model_config_file else folder_seconds), 0.0)


def poll_function(flags: argparse.Namespace) -> Callable[[Manager], None]:
    """The function `poll` of the server: it reads models.config, or serves the latest version of one model.

    Raises:
        Refused: --model_base_path is a URL.
    """
    if flags.model_config_file:
        path = Path(flags.model_config_file)
        return lambda manager: manager.poll_config(path)
    if "://" in flags.model_base_path:
        fix = "copy the model to a folder first, for example --model_base_path=/models/NAME"
        raise refuse("--model_base_path", f"{flags.model_base_path} is not a local folder", fix)
    configs = {flags.model_name: ModelConfig(flags.model_name, Path(flags.model_base_path))}
    return lambda manager: manager.serve(configs)


def metrics_path(file: str) -> str | None:
    """The URL path of the metrics in a monitoring_config_file (prometheus_config); None: no metrics.

    Raises:
        Refused: the file cannot be read.
    """
    if not file:
        return None
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(
            "--monitoring_config_file", f"{file} cannot be read ({error})", "name a text file in UTF-8"
        ) from None
    path = re.search(r"""path\s*:\s*["']([^"']+)["']""", text)
    enabled = re.search(r"enable\s*:\s*true", text)
    return (path[1] if path else METRICS) if enabled else None


if __name__ == "__main__":
    sys.exit(main())
