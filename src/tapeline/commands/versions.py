"""The versions that the store holds under a name: tapeline versions serving.name=indices"""

from __future__ import annotations

GROUP = "serve"
HELP = "list the versions that the store holds under serving.name"
OPTIONS = ()
READS = ("dataset.name", "dataset.source", "experiment", "serving.name", "serving.store", "target.name")
EXAMPLES = (
    ("tapeline versions", "lists number, state, data and scores of each version"),
    ("tapeline versions serving.name=indices serving.store=s3://models/store", "does so for a store in S3"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Print a table of the versions, and the features that they read.

    Raises:
        Refused: the store has none of that name.
    """
    from tapeline.console import table
    from tapeline.errors import printable
    from tapeline.lookup import configure
    from tapeline.serving.store import operations

    serving = configure(overrides).serving
    rows = list(operations.table(serving.store, serving.name))
    columns = [name for name in rows[0] if name != "names"]
    table(columns, [[_cell(row[name]) for name in columns] for row in rows])
    for names in dict.fromkeys(tuple(row["names"]) for row in rows if row["names"]):
        numbers = ", ".join(str(row["number"]) for row in rows if tuple(row["names"]) == names)
        print(f"features of {numbers}: {printable(', '.join(names))}")


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
