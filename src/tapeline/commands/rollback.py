"""Make the previous version live again: tapeline rollback why='it shorts everything'"""

from __future__ import annotations

from tapeline.commands import NAMED_MODEL, Option

GROUP = "serve"
HELP = "make the previous version live again"
OPTIONS = (Option("why", "TEXT", "the reason, for the store's log"),)
READS = (*NAMED_MODEL, "serving.lock_seconds")
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
