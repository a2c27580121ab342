"""The version that was live before goes live again: tapeline rollback why='it shorts everything'"""

from __future__ import annotations

from tapeline.commands import Option

GROUP = "serve"
HELP = "make the version live again that was live before"
OPTIONS = (Option("why", "TEXT", "the reason, for the store's log"),)
READS = (
    "dataset.name",
    "dataset.source",
    "experiment",
    "serving.lock_seconds",
    "serving.name",
    "serving.store",
    "target.name",
)
EXAMPLES = (
    ("tapeline rollback why='it shorts everything'", "goes one version back; publish then refuses the one left"),
    ("tapeline rollback serving.name=indices", "does so for the models served as `indices`"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Roll back, and print what is served."""
    from tapeline.lookup import configure
    from tapeline.serving.store import operations

    serving = configure(overrides).serving
    print(operations.rollback(serving.store, serving, options.get("why", "")))
