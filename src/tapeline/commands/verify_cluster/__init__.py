"""Test an applied overlay: training, serving, network policies: tapeline verify-cluster"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "clusters"
HELP = "test an applied overlay: it trains, answers clients, and refuses other connections"
OPTIONS = (
    Option("namespace", "NAME", "where the overlay was applied", "tapeline"),
    Option("template", "NAME", "the WorkflowTemplate that is run", "that of the experiment, else snp-deep-cpu"),
    Option("tls", "CA.pem", "the certificate of the authority of the server's one, where the overlay has with-tls"),
)
READS = ("dataset", "experiment", "serving.name")
EXAMPLES = (
    ("tapeline verify-cluster", "checks the namespace tapeline of kubectl's current context"),
    ("tapeline verify-cluster namespace=test template=snp-flat-cpu", "checks another one, with a shorter run"),
    ("tapeline verify-cluster experiment=bitcoin_dnn tls=ca.pem", "another model, over encrypted connections"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Run a pipeline, send requests as a client, and try to connect without the client's label.

    Raises:
        Refused: all that does not work.
    """
    from tapeline.commands.verify_cluster import probes

    probes.run(overrides, options)
