"""Rows from the data or a file, sent to a server, and what it answers.

tapeline predict date=2014-08-12 dataset.source=csv dataset.path=closes.csv
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapeline.commands import Option

if TYPE_CHECKING:
    from tapeline.commands.predict.rows import Rows
    from tapeline.serving.client import Endpoint, Response

GROUP = "serve"
HELP = "ask a server about a date, a random row or a file of rows; without them about the latest day"
OPTIONS = (
    Option("date", "YYYY-MM-DD", "a day of the data", "the latest"),
    Option("random", "true|false", "a random row of the train rows, drawn with the seed", "false"),
    Option("rows", "FILE.csv", "a file with a header and a column for each feature"),
    Option("host", "HOST[:PORT]", "the server; without a port, serving.rest_port or serving.grpc_port", "127.0.0.1"),
    Option("api", "rest|grpc", "which of the server's two APIs is asked", "rest"),
    Option("version", "N", "a version of the store", "the live one"),
)
READS = (
    *("dataset", "experiment", "seed", "serving.grpc_port", "serving.name", "serving.rest_port", "serving.store"),
    *("split", "target.cache", "target.name"),
)
EXAMPLES = (
    ("tapeline predict date=2014-08-12 dataset.source=csv dataset.path=closes.csv", "asks about a day of a CSV file"),
    ("tapeline predict rows=new.csv host=models:8500 api=grpc", "sends all rows of a file to another machine"),
)
LOCAL = ("127.0.0.1", "localhost", "::1")
"""Hosts whose models lie in this machine's store."""
SHOWN = 20
"""Rows printed for people."""


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Ask, print the answers for people, and one JSON object in the last line.

    Raises:
        Refused: the options do not fit together, there is no such row, or the server refuses.
    """
    import json

    from tapeline.commands.predict.rows import chosen_rows, in_order, served_features
    from tapeline.lookup import configure, spec, task
    from tapeline.serving import client
    from tapeline.serving.signatures import PREDICTORS
    from tapeline.serving.store import operations

    config, number = configure(overrides), operations.number(options.get("version"))
    ports = {"rest": config.serving.rest_port, "grpc": config.serving.grpc_port}
    host, api = options.get("host", "127.0.0.1"), options.get("api", "rest")
    server = client.endpoint(host, ports, config.serving.name, api)
    rows = chosen_rows(config, options)
    names = served_features(config, number) if server.host in LOCAL else None
    answer = client.predict(server, {PREDICTORS: in_order(rows, names)}, number)
    print(*_lines(server, rows, answer), sep="\n")
    print(json.dumps(_summary(rows, answer, task(spec(config.dataset.name).task).OUTPUTS)))


def _lines(server: Endpoint, rows: Rows, answer: Response) -> list[str]:
    """A small table."""
    version = _one(answer.outputs.get("model_version"))
    head = f"{server.model} version {answer.version}" + (f" ({version})" if version else "")
    lines = [f"{head} on {server}, {server.api}, {answer.milliseconds:.1f} ms"]
    columns = {"date": [date or "-" for date in rows.dates]}
    for name in ("prediction", *(each for each in answer.outputs if each not in ("prediction", "model_version"))):
        columns[name] = [_text(value) for value in answer.outputs.get(name, [])[:SHOWN]]
    widths = {name: max(map(len, [name, *values])) for name, values in columns.items() if values}
    lines.append("  ".join(name.ljust(width) for name, width in widths.items()).rstrip())
    for row in range(min(len(rows.dates), SHOWN)):
        lines.append("  ".join(columns[name][row].ljust(width) for name, width in widths.items()).rstrip())
    if len(rows.dates) > SHOWN:
        lines.append(f"... and {len(rows.dates) - SHOWN} more")
    return lines


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _one(values: Any) -> Any:
    return values[0] if values else None


def _summary(rows: Rows, answer: Response, names: tuple[str, ...]) -> dict[str, Any]:
    """The object of the last line: values for one row, lists for several."""
    from tapeline.serving.client import json_value

    listed: dict[str, Any] = {"date": rows.dates}
    listed |= {name: json_value(answer.outputs.get(name)) for name in names}
    if len(rows.dates) == 1:
        listed = {name: _one(values) for name, values in listed.items()}
    model_version = _one(answer.outputs.get("model_version"))
    return {
        **listed,
        "model_version": model_version,
        "version": answer.version,
        "latency_ms": round(answer.milliseconds, 3),
    }
