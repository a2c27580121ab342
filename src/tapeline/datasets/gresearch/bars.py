"""Minute bars with types, checked by row, one part for each asset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapeline.datasets import parsing
from tapeline.datasets.gresearch.assets import Asset, part_id
from tapeline.datasets.parsing import RowFinding
from tapeline.errors import Finding, Refused, refuse

if TYPE_CHECKING:
    import polars as pl

Array = np.ndarray[Any, Any]

PRICES = ("Open", "High", "Low", "Close")
OTHERS = ("Count", "Volume", "VWAP")
COLUMNS = ("timestamp", "Asset_ID", *OTHERS, *PRICES, "Target")
"""Of the competition's train.csv."""
NEEDED = ("timestamp", "Asset_ID", *PRICES)
"""Those of which features are made."""
MINUTE = 60
LATEST = 10**11
"""Seconds of the year 5138; larger numbers are milliseconds, and more."""
INTERVALS = {3600: "hourly", 86_400: "daily", 604_800: "weekly"}
SHOWN = 20
"""Row numbers that a finding keeps."""


def read(frame: pl.LazyFrame, where: str, assets: Mapping[int, Asset], *, labelled: bool = True) -> pl.DataFrame:
    """All bars in the order of the file: COLUMNS with types, and `row`, counted from 1.

    Args:
        frame: the file; further columns are ignored.
        where: its name in error messages.
        assets: the weights, by Asset_ID.
        labelled: all COLUMNS are needed, and a target; otherwise NEEDED alone, and the others may lack.

    Raises:
        Refused: everything that is wrong, by column and row.
    """
    import polars as pl

    names = _columns(frame, where, COLUMNS if labelled else NEEDED)
    readers = {names[name]: parsing.integer_reader() for name in ("timestamp", "Asset_ID")}
    readers |= {names[name]: parsing.price_reader() for name in PRICES}
    readers |= {names[each]: parsing.number_reader() for each in (*OTHERS, "Target") if each in names}
    parsed = parsing.scan(frame, readers, where)
    bars = pl.DataFrame([parsed[column].values.alias(name) for name, column in names.items()])
    if bars.is_empty():
        raise refuse(where, "has a header and no rows", "add rows of minute bars")
    bars = bars.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias("row"))
    findings = [finding for each in parsed.values() for finding in each.findings]
    findings += [each for each in _wrong_rows(bars) if (each.column, each.rows[:1]) not in _places(findings)]
    found = [finding.at(where) for finding in findings]
    found += _without_weight(bars, where, assets)
    if not any(finding.column == "timestamp" for finding in findings):
        found += _interval(bars, where)
        found += [finding.at(where) for finding in _twice(bars)]
    if labelled and bars["Target"].null_count() == len(bars):
        found.append(Finding(f"{where}, column Target", "every target is missing", "use bars with targets"))
    if found:
        raise Refused(*found)
    return bars


def parts(bars: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The bars of each asset, by the id of its part: `time` instead of the timestamp, ascending."""
    import polars as pl

    time = pl.from_epoch("timestamp", time_unit="s").cast(pl.Datetime("us")).alias("time")
    columns = [name.lower() for name in (*OTHERS, *PRICES, "Target")]
    for asset in sorted(bars["Asset_ID"].unique().to_list()):
        own = bars.lazy().filter(pl.col("Asset_ID") == asset).select(time, pl.exclude("timestamp", "Asset_ID", "row"))
        own = own.rename(str.lower)
        missing = [pl.lit(None, pl.Float64).alias(name) for name in columns if name not in own.collect_schema().names()]
        frame = own.with_columns(missing).select("time", *columns).collect()
        yield part_id(asset), frame if frame["time"].is_sorted() else frame.sort("time")


def _columns(frame: pl.LazyFrame, where: str, needed: Sequence[str]) -> dict[str, str]:
    """The file's names of the columns; those that are not needed only where they are there.

    Raises:
        Refused: columns are missing; all of them are named.
    """
    names: dict[str, str] = {}
    findings: list[Finding] = []
    for name in COLUMNS:
        try:
            names[name] = parsing.column(frame, [name], where, "add it, empty where it is not known")
        except Refused as error:
            findings += error.findings if name in needed else ()
    if findings:
        raise Refused(*findings)
    return names


def _places(findings: Sequence[RowFinding]) -> set[tuple[str, tuple[int, ...]]]:
    return {(each.column, each.rows[:1]) for each in findings}


def _wrong_rows(bars: pl.DataFrame) -> Iterator[RowFinding]:
    """Rules about single rows."""
    import polars as pl

    for name in ("timestamp", "Asset_ID", *PRICES):
        gone = bars[name].is_null()
        yield from _found(bars, name, gone, "the value is missing", "complete the row, or remove it")
    time = bars["timestamp"]
    late = (time.abs() > LATEST).fill_null(value=False)
    fix = "give seconds since 1970, as in 1514764860"
    yield from _found(bars, "timestamp", late, "{!r} is in milliseconds or smaller units, not in seconds", fix)
    off = ((time % MINUTE != 0) & ~late).fill_null(value=False)
    yield from _found(
        bars, "timestamp", off, "{!r} is not at a full minute", "give the second at which the minute ends"
    )
    reversed_ = (bars["High"] < bars["Low"]).fill_null(value=False)
    yield from _found(bars, "High", reversed_, "the high {!r} is below the low", "correct the row, or remove it")
    if "Volume" in bars.columns:
        negative = (bars["Volume"] < 0).fill_null(value=False)
        yield from _found(bars, "Volume", negative, "the volume {!r} is negative", "correct it, or leave it empty")
    if bars["Asset_ID"].dtype == pl.Int64:
        yield from _found(
            bars, "Asset_ID", (bars["Asset_ID"] < 0).fill_null(value=False), "{!r} is negative", "correct it"
        )


def _found(bars: pl.DataFrame, column: str, wrong: pl.Series, problem: str, fix: str) -> Iterator[RowFinding]:
    count = int(wrong.sum() or 0)
    if count:
        first = wrong.arg_true().head(SHOWN)
        value = bars[column][int(first[0])]
        yield RowFinding(column, tuple((first + 1).to_list()), count, value, problem.format(value), fix)


def _without_weight(bars: pl.DataFrame, where: str, assets: Mapping[int, Asset]) -> Iterator[Finding]:
    """Assets that have bars and no weight."""
    import polars as pl

    for asset in sorted(bars["Asset_ID"].drop_nulls().unique().to_list()):
        if asset >= 0 and asset not in assets:
            rows = bars.filter(pl.col("Asset_ID") == asset)["row"]
            place = f"{where}, column Asset_ID, row {rows[0]}"
            fix = "put it into asset_details.csv beside the file, or leave it out with dataset.assets"
            yield Finding(place, f"asset {asset} has no weight ({len(rows)} rows)", fix)


def _interval(bars: pl.DataFrame, where: str) -> Iterator[Finding]:
    """Bars whose usual distance is more than a minute."""
    import polars as pl

    ordered = bars.lazy().select("timestamp", "Asset_ID").drop_nulls().sort("Asset_ID", "timestamp")
    step = pl.col("timestamp").diff().over("Asset_ID")
    usual = ordered.select(step.alias("step")).filter(pl.col("step") > 0).group_by("step").len().collect()
    if usual.is_empty():
        return
    seconds = int(usual.sort("len", "step", descending=[True, False])["step"][0])
    if seconds != MINUTE and not (usual["step"] == MINUTE).any():
        what = INTERVALS.get(seconds, f"{seconds / MINUTE:g}-minute")
        yield Finding(f"{where}, column timestamp", f"has {what} bars", "use bars of one minute")


def _twice(bars: pl.DataFrame) -> Iterator[RowFinding]:
    """Bars of one asset at one time."""
    import polars as pl

    ordered = bars.lazy().select("timestamp", "Asset_ID", "row").drop_nulls().sort("Asset_ID", "timestamp", "row")
    before = pl.struct("timestamp", "Asset_ID") == pl.struct("timestamp", "Asset_ID").shift(1)
    again = ordered.with_columns(first=pl.col("row").shift(1)).filter(before).sort("row").collect()
    if not again.is_empty():
        asset, first = again["Asset_ID"][0], again["first"][0]
        problem = f"the bar of asset {asset} is also in row {first}"
        rows = tuple(again["row"].head(SHOWN).to_list())
        yield RowFinding("timestamp", rows, len(again), None, problem, "keep one row for each asset and minute")
