"""A local server on the store, until SIGTERM or Ctrl-C: tapeline serve serving.rest_port=8501"""

from __future__ import annotations

GROUP = "serve"
HELP = "serve the store's models over TF Serving's REST and gRPC API, until Ctrl-C"
OPTIONS = ()
READS = (
    *("experiment", "hw.threads", "serving.store", "serving.engine", "serving.host", "serving.grpc_port"),
    *("serving.rest_port", "serving.poll_seconds", "serving.reload", "target.name"),
)
EXAMPLES = (
    ("tapeline serve", "serves what is live in ./store on the ports of conf/serving/default.yaml"),
    ("tapeline serve serving.rest_port=8080 serving.engine=tfserving", "runs TF Serving's own image instead"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Serve, and follow the store's models.config."""
    from tapeline.console import logged, running
    from tapeline.lookup import configure
    from tapeline.serving.servers import container, server

    config = configure(overrides)
    serving = config.serving
    if serving.engine == "tfserving":
        container.run(serving)
    reload = serving.reload == "always"
    listen = server.ListenAddress(serving.host, serving.grpc_port, serving.rest_port, reload=reload)
    with logged():
        running(f"loading TensorFlow and the models of {serving.store}")
        poll = server.follow_store(serving.store)
        server.serve(listen, poll, seconds=serving.poll_seconds, threads=config.hw.threads)
