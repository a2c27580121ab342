"""A file of rows, or of raw data such as minute bars, sent to a server in batches below its limit of a request's size.

tapeline predict rows=bars.csv out=predictions.csv experiment=gresearch_lightgbm
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import files
from tapeline.commands.predict import rows as of_rows
from tapeline.commands.predict.rows import Rows
from tapeline.config.schema import Config
from tapeline.datasets.sources import csv as text
from tapeline.datasets.sources import fetch
from tapeline.lookup import dataset as kind
from tapeline.pipeline import cache
from tapeline.serving import client
from tapeline.serving.client import Endpoint, Response
from tapeline.tables import writing
from tapeline.tables.spec import format_time
from tapeline.tables.table import open_table

BATCH = 5000
"""Rows of a request: about 3 MB of JSON for 30 features."""


def is_raw(config: Config, path: Path) -> bool:
    """Whether a file holds raw data of the dataset, of which features can be made, not features."""
    module: Any = kind(config.dataset)
    if not hasattr(module, "unlabelled") or not path.is_file():
        return False
    if path.suffix.lower() != ".csv":
        return True
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        header = next(csv.reader(file), [])
    return set(module.RAW_COLUMNS) <= {name.strip() for name in header}


def of_raw(config: Config, path: Path) -> Iterator[Rows]:
    """The features of the rows of a file of raw data, part by part, some thousand rows at a time.

    Raises:
        Refused: everything that is wrong with the file, by column and row.
    """
    module: Any = kind(config.dataset)
    with files.scratch(cache.local_folder(config.target.cache), "predict") as folder:
        frame = text.scan(fetch.local(str(path), "rows", folder), str(path))
        writing.write(folder / "rows", *module.unlabelled(config.dataset, frame, str(path)))
        table = open_table(folder / "rows")
        names = table.manifest.names("feature")
        for batch in table.batches(("feature", "time"), size=BATCH):
            times: list[str | None] = [str(format_time(each)) for each in batch["time"]]
            yield Rows(times, names, batch["feature"], keys=module.keys(batch, names))


def ask(server: Endpoint, rows: Rows, names: Sequence[str] | None, number: int | None) -> Response:
    """Send all rows, at most BATCH in one request; all are answered by one version."""
    features = of_rows.in_order(rows, names).features
    found = [
        client.predict(server, {rows.input: features[first : first + BATCH]}, number, rows.signature)
        for first in range(0, len(features), BATCH)
    ]
    if len({each.version for each in found}) > 1:  # another version went live meanwhile
        return ask(server, rows, names, found[-1].version)
    outputs = {name: [value for each in found for value in each.outputs[name]] for name in found[0].outputs}
    return Response(found[0].version, outputs, sum(each.milliseconds for each in found))


def joined(parts: Sequence[Rows]) -> Rows:
    """All rows in one."""
    keys = {name: np.concatenate([each.keys[name] for each in parts]) for name in parts[0].keys}
    dates = [date for each in parts for date in each.dates]
    return Rows(dates, parts[0].names, np.concatenate([each.features for each in parts]), keys=keys)


def to_file(
    server: Endpoint, batches: Iterator[Rows], names: Sequence[str] | None, number: int | None, out: Path
) -> tuple[int, Response]:
    """Write a CSV with what says which row it is, and the outputs; return the number of rows and the last answer.

    Raises:
        Refused: a row is wrong, or the server refuses; then no file is written.
    """
    total, answer = 0, Response(0, {}, 0.0)
    with files.atomic_path(out) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for rows in batches:
            answer = ask(server, rows, names, number)
            number = answer.version  # all batches by one version
            columns = {**_listed(rows), **_flat(answer.outputs)}
            if not total:
                writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
            total += len(rows.dates)
    return total, answer


def _listed(rows: Rows) -> dict[str, list[Any]]:
    if rows.keys:
        return {name: values.tolist() for name, values in rows.keys.items()}
    return {"date": rows.dates} if any(rows.dates) else {"row": list(range(1, len(rows.dates) + 1))}


def _flat(outputs: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """A column for each number of an output."""
    columns: dict[str, list[Any]] = {}
    for name, values in outputs.items():
        if name == "model_version":
            continue
        width = len(values[0]) if values and isinstance(values[0], list) else 0
        if width == 1:
            columns[name] = [each[0] for each in values]
        elif width:
            columns |= {f"{name}_{at}": [each[at] for each in values] for at in range(width)}
        else:
            columns[name] = values
    return columns
