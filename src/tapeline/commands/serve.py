"""A local server on the store, until SIGTERM or Ctrl-C: tapeline serve serving.rest_port=8501"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "serve"
HELP = "serve the store's models over TF Serving's REST and gRPC API, until Ctrl-C"
OPTIONS = (
    Option("tls", "CERT.pem", "encrypt both APIs: the server's certificate, and intermediate ones"),
    Option("key", "KEY.pem", "its private key", "in the file of tls"),
)
READS = (
    *("experiment", "hw.threads", "serving.store", "serving.engine", "serving.host", "serving.grpc_port"),
    *("serving.rest_port", "serving.poll_seconds", "serving.reload", "target.name"),
)
EXAMPLES = (
    ("tapeline serve", "serves what is live in ./store on the ports of conf/serving/default.yaml"),
    ("tapeline serve serving.rest_port=8080 serving.engine=tfserving", "runs TF Serving's own image instead"),
    ("tapeline serve tls=cert.pem key=key.pem serving.host=0.0.0.0", "encrypts REST and gRPC, for other machines"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Serve, and follow the store's models.config.

    Raises:
        Refused: a port cannot be used, or the certificate or its key is not valid.
    """
    from tapeline.console import logged, running
    from tapeline.errors import refuse
    from tapeline.lookup import configure
    from tapeline.serving.servers import container, server, tls

    config = configure(overrides)
    serving = config.serving
    if "key" in options and "tls" not in options:
        raise refuse(f"key={options['key']}", "is not read without tls", "add the certificate, as in tls=cert.pem")
    if serving.engine == "tfserving":
        if "tls" in options:
            problem = "is not possible with serving.engine=tfserving, since TF Serving cannot encrypt REST"
            raise refuse(f"tls={options['tls']}", problem, "leave serving.engine out; both servers answer alike")
        container.run(serving)
    reload = serving.reload == "always"
    certificate = tls.read(options["tls"], options.get("key")) if "tls" in options else None
    listen = server.ListenAddress(serving.host, serving.grpc_port, serving.rest_port, reload=reload, tls=certificate)
    with logged():
        running(f"loading TensorFlow and the models of {serving.store}")
        poll = server.follow_store(serving.store)
        server.serve(listen, poll, seconds=serving.poll_seconds, threads=config.hw.threads)
