"""The versions of a model in the store: tapeline versions serving.name=indices"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tapeline.commands import NAMED_MODEL, Option

GROUP = "serve"
HELP = "list the versions of serving.name in the store"
OPTIONS = (Option("details", "true|false", "also print model version, data, as-of, decision and features", "false"),)
READS = (*NAMED_MODEL, "target.runs")
EXAMPLES = (
    ("tapeline versions", "lists number, date, run and score of each version, and since when one is live"),
    ("tapeline versions serving.name=indices serving.store=s3://models/store", "does so for a store in S3"),
)


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Print a table of the versions; with details=true also what they were made of.

    Raises:
        Refused: the store has none of that name.
    """
    from pathlib import Path

    from tapeline.errors import printable
    from tapeline.lookup import configure
    from tapeline.serving.store import operations

    config = configure(overrides)
    rows = list(operations.table(config.serving.store, config.serving.name))
    runs = _runs(Path(config.target.runs), config.serving.name)
    metric = next((str(row["metric"]) for row in reversed(rows) if row["metric"]), "score")
    print(printable(config.serving.name))
    heads = ["", "published", "run", metric, "live since"]
    cells = [
        [
            str(row["number"]),
            row["published"][:10],
            runs.get(row["model_version"], ""),
            _score(row, metric),
            _state(row),
        ]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line in (heads, *cells):
        print("  ".join(printable(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if options.get("details") == "true":
        print(*_details(rows), sep="\n")


def _runs(folder: Any, name: str) -> dict[str, str]:
    """The run of this machine that published each model version, else the first that made it."""
    from tapeline.pipeline.run_folder import runs

    made, published = dict[str, str](), dict[str, str]()
    for each in runs(folder):
        if not each.metrics or each.metrics["config"].get("serving", {}).get("name") != name:
            continue
        model_version, written = str(each.metrics["model_version"]), each.record.get("published")
        made[model_version] = each.name
        if isinstance(written, dict) and written.get("written"):
            published[model_version] = each.name
    return made | published


def _score(row: Mapping[str, Any], metric: str) -> str:
    if row["score"] is None:
        return ""
    return f"{row['score']:.4f}" + ("" if row["metric"] == metric else f" ({row['metric']})")


def _state(row: Mapping[str, Any]) -> str:
    """Since when it is live; for others what they are."""
    if row["state"] != "live":
        return str(row["state"])
    return str(row["since"])[:16].replace("T", " ") or "live"


def _details(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    from textwrap import wrap

    from tapeline.errors import printable

    for row in rows:
        yield ""
        known = [row["model_version"], row["decision"], f"data {row['data']}" if row["data"] else ""]
        facts = [str(each) for each in known if each]
        facts += [f"as of {row['as of']}"] if row["as of"] else []
        yield f"version {row['number']}: {printable(', '.join(facts))}"
        yield from wrap(f"{row['features']} features: {printable(', '.join(row['names']))}", 80, subsequent_indent="  ")
