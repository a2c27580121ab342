"""Make the canary or a version live: tapeline promote version=3"""

from __future__ import annotations

from tapeline.commands import NAMED_MODEL, Option

GROUP = "serve"
HELP = "make the canary, or a version of the store, the live version"
OPTIONS = (
    Option("version", "N", "a version of the store", "the canary"),
    Option("why", "TEXT", "the reason, for the store's log"),
)
READS = (*NAMED_MODEL, "serving.lock_seconds")
EXAMPLES = (
    ("tapeline promote", "makes the canary the live version"),
    ("tapeline promote version=3 serving.name=indices", "makes version 3 of `indices` the live one"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Promote, and print what is served."""
    from tapeline.lookup import configure
    from tapeline.serving.store import operations

    number, serving = operations.number(options.get("version")), configure(overrides).serving
    print(operations.promote(number, serving.store, serving, options.get("why", "")))
