"""Rows from the data or a file, sent to a server, and what it answers.

tapeline predict date=2014-08-12 dataset.source=csv dataset.path=closes.csv
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tapeline.commands import Option

if TYPE_CHECKING:
    from tapeline.commands.predict.rows import Rows
    from tapeline.config.schema import Config
    from tapeline.serving.client import Endpoint, Response
    from tapeline.tasks import Task

GROUP = "serve"
HELP = "ask a server about a date, a random row or a file of rows; without them about the latest day"
OPTIONS = (
    Option("date", "YYYY-MM-DD", "a day of the data", "the latest"),
    Option("random", "true|false", "a random row of the train rows, drawn with the seed", "false"),
    Option("rows", "FILE.csv", "a file with a header: a column for each feature, or raw data: closes, minute bars"),
    Option("image", "FILE", "a PNG or JPEG, for a dataset of images; its points are drawn into the PNG of out"),
    Option("lookup", "FILE.csv", "with rows=test.csv: Kaggle's IdLookupTable.csv, which says what out has"),
    Option("out", "FILE", "where an image with its points, or the answers to the rows of rows, are written"),
    Option("host", "HOST[:PORT]", "the server; without a port, serving.rest_port or serving.grpc_port", "127.0.0.1"),
    Option("api", "rest|grpc", "which of the server's two APIs is asked", "rest"),
    Option("tls", "CA.pem", "encrypt, and accept certificates of the authorities in this file only"),
    Option("version", "N", "a version of the store", "the live one"),
    Option("json", "true|false", "print one JSON object instead of words", "false"),
)
READS = (
    *("dataset", "experiment", "seed", "serving.grpc_port", "serving.name", "serving.rest_port", "serving.store"),
    *("split", "target.cache", "target.name"),
)
EXAMPLES = (
    ("tapeline predict rows=closes.csv", "asks about each day of a file with a date and the last closes"),
    ("tapeline predict date=2014-08-12 dataset.source=csv dataset.path=closes.csv", "asks about a day of a CSV file"),
    ("tapeline predict experiment=faces_conv image=face.jpg", "draws the points of a face into face-points.png"),
    ("tapeline predict rows=new.csv host=models:8500 api=grpc json=true", "sends features to another machine"),
    ("tapeline predict host=models:8443 tls=ca.pem", "asks over an encrypted connection"),
)
LOCAL = ("127.0.0.1", "localhost", "::1")
"""Hosts whose models lie in this machine's store."""


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Ask, and print the answers in words, or as one JSON object.

    Raises:
        Refused: the options do not fit together, there is no such row, or the server refuses.
    """
    from tapeline.commands.predict import images, submission
    from tapeline.errors import refuse
    from tapeline.lookup import configure, spec
    from tapeline.serving import client
    from tapeline.serving.store import operations

    config, number = configure(overrides), operations.number(options.get("version"))
    ports = {"rest": config.serving.rest_port, "grpc": config.serving.grpc_port}
    host, api = options.get("host", "127.0.0.1"), options.get("api", "rest")
    server = client.endpoint(host, ports, config.serving.name, api, options.get("tls"))
    of_images = spec(config.dataset.name).feature_shape is not None
    if "image" in options:
        images.drawn(config, server, number, options)
    elif "rows" in options and of_images:
        submission.submitted(config, server, number, options)
    elif unread := [key for key in ("lookup", "out") if key in options and (key == "lookup" or "rows" not in options)]:
        fix = "give image=, or rows=; lookup= is for datasets of images"
        raise refuse(" and ".join(f"{key}={options[key]}" for key in unread), "is not read", fix)
    else:
        _of_rows(config, server, number, options)


def _of_rows(config: Config, server: Endpoint, number: int | None, options: dict[str, str]) -> None:
    """Ask about rows of features, made here or from a file, and print or write the answers."""
    from pathlib import Path

    from tapeline.commands.predict import batches, live
    from tapeline.commands.predict.rows import Served, chosen_rows, of_dataset
    from tapeline.serving import client

    local = server.host in LOCAL
    model = (live.served(config.serving, number) if local else None) or Served(None, of_dataset(config.dataset.name))
    names = model.features
    raw = "rows" in options and batches.is_raw(config, Path(options["rows"]))
    found = batches.of_raw(config, Path(options["rows"])) if raw else iter([chosen_rows(config, options, model)])
    try:
        if "out" in options:
            total, answer = batches.to_file(server, found, names, number, Path(options["out"]))
            print(f"{server.model} version {answer.version} on {server}, {server.api}: {total:,} rows")
            print(f"written: {options['out']}")
            return
        rows = batches.joined(list(found)) if raw else next(found)
        _print(config, server, rows, batches.ask(server, rows, names, number), options)
    except client.NotFound as error:
        raise live.named(error, config.serving) if local and number is None else error from None


def _print(config: Config, server: Endpoint, rows: Rows, answer: Response, options: dict[str, str]) -> None:
    """The answers in words, or as one JSON object."""
    import json

    from tapeline.commands.predict import live, words
    from tapeline.lookup import spec, task

    about = spec(config.dataset.name)
    of = task(about.task)
    more = _more(of, rows, answer)
    if options.get("json") == "true":
        print(json.dumps(_summary(rows, answer, of.OUTPUTS, more)))
        return
    print(*words.lines(server, rows, answer, of, about.outputs, more), sep="\n")
    if server.host in LOCAL and (others := live.others(config.serving)):
        print(f"also live: {', '.join(others)}; ask one with serving.name={others[0]}")


def _more(task: Task, rows: Rows, answer: Response) -> dict[str, list[Any]]:
    """What the task makes of the outputs and the rows' context columns, where it has something to add."""
    import numpy as np

    made = getattr(task, "answer", None)
    if made is None or not rows.context or not {"prediction"} <= answer.outputs.keys():
        return {}
    prediction = np.array(answer.outputs["prediction"], float)
    found: dict[str, Any] = made({**rows.context, "prediction": prediction})
    return {name: (each.astype(str) if each.dtype.kind == "M" else each).tolist() for name, each in found.items()}


def _one(values: Any) -> Any:
    return values[0] if values else None


def _summary(rows: Rows, answer: Response, names: tuple[str, ...], more: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The answer as JSON: values for one row, lists for several."""
    from tapeline.serving.client import json_value

    listed: dict[str, Any] = {"date": rows.dates}
    listed |= {name: values.tolist() for name, values in rows.keys.items()}
    listed |= {name: json_value(values) for name, values in more.items()}
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
