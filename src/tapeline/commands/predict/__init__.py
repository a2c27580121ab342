"""Rows from the data or a file, sent to a server, and what it answers.

tapeline predict date=2014-08-12 dataset.source=csv dataset.path=closes.csv
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapeline.commands import Option

if TYPE_CHECKING:
    from tapeline.commands.predict.rows import Rows
    from tapeline.serving.client import Response

GROUP = "serve"
HELP = "ask a server about a date, a random row or a file of rows; without them about the latest day"
OPTIONS = (
    Option("date", "YYYY-MM-DD", "a day of the data", "the latest"),
    Option("random", "true|false", "a random row of the train rows, drawn with the seed", "false"),
    Option("rows", "FILE.csv", "a file with a header: a column for each feature, or raw data such as closes"),
    Option("host", "HOST[:PORT]", "the server; without a port, serving.rest_port or serving.grpc_port", "127.0.0.1"),
    Option("api", "rest|grpc", "which of the server's two APIs is asked", "rest"),
    Option("version", "N", "a version of the store", "the live one"),
    Option("json", "true|false", "print one JSON object instead of words", "false"),
)
READS = ("dataset", "experiment", "seed", "serving", "split", "target")
EXAMPLES = (
    ("tapeline predict rows=closes.csv", "asks about each day of a file with a date and the last closes"),
    ("tapeline predict date=2014-08-12 dataset.source=csv dataset.path=closes.csv", "asks about a day of a CSV file"),
    ("tapeline predict rows=new.csv host=models:8500 api=grpc json=true", "sends features to another machine"),
)
LOCAL = ("127.0.0.1", "localhost", "::1")
"""Hosts whose models lie in this machine's store."""


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Ask, and print the answers in words, or as one JSON object.

    Raises:
        Refused: the options do not fit together, there is no such row, or the server refuses.
    """
    import json

    from tapeline.commands.predict import live, words
    from tapeline.commands.predict.rows import Served, chosen_rows, of_dataset
    from tapeline.lookup import configure, spec, task
    from tapeline.serving import client
    from tapeline.serving.store import operations

    config, number = configure(overrides), operations.number(options.get("version"))
    ports = {"rest": config.serving.rest_port, "grpc": config.serving.grpc_port}
    host, api = options.get("host", "127.0.0.1"), options.get("api", "rest")
    server = client.endpoint(host, ports, config.serving.name, api)
    local = server.host in LOCAL
    model = live.served(config.serving, number) if local else None
    model = model or Served(None, of_dataset(config.dataset.name))
    rows = chosen_rows(config, options, model)
    try:
        answer = client.predict(server, {rows.input: rows.values}, number, rows.signature)
    except client.NotFound as error:
        raise live.named(error, config.serving) if local and number is None else error from None
    of = task(spec(config.dataset.name).task)
    if options.get("json") == "true":
        print(json.dumps(_summary(rows, answer, of.OUTPUTS)))
        return
    print(*words.lines(server, rows, answer, of, spec(config.dataset.name).outputs), sep="\n")
    if local and (others := live.others(config.serving)):
        print(f"also live: {', '.join(others)}; ask one with serving.name={others[0]}")


def _one(values: Any) -> Any:
    return values[0] if values else None


def _summary(rows: Rows, answer: Response, names: tuple[str, ...]) -> dict[str, Any]:
    """The answer as JSON: values for one row, lists for several."""
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
