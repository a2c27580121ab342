"""One series of closes for each market, each from its own table, joined by date.

The schema of datasets that the sources `files` and `sql` can read, and the code that these sources share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, field_validator

from tapeline.config import schema
from tapeline.config.section import Section as Keys
from tapeline.datasets import parsing
from tapeline.datasets.sources.query import PasswordFile
from tapeline.errors import choose, refuse

if TYPE_CHECKING:
    import polars as pl

JOINED = ("files", "sql")
"""Sources whose frames have a column `date` and one column for each market, with types."""


class File(Keys):
    """The file of one market: its path, and its column names and date format where they differ."""

    path: Annotated[str, Field(min_length=1)]
    date_column: str | None = None
    """null: as dataset.date_column."""
    close_column: str | None = None
    """null: <market>, <market>_close or close."""
    date_format: str | None = None
    """null: as dataset.date_format."""


def _path_as_file(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class Section(schema.Dataset):
    """The keys of a dataset with one series for each market."""

    MARKETS: ClassVar[tuple[str, ...]]
    columns: dict[str, str]
    """Column names in the table, by market, if they are not `<market>` or `<market>_close`."""
    date_column: str | None
    date_format: str | None
    """strptime directives or epoch_s, epoch_ms, ...; null detects it from the values."""
    files: dict[str, Annotated[File, BeforeValidator(_path_as_file)]]
    """For source=files, by market; a path alone is allowed."""
    url: str | None
    """A database URL in the form of SQLAlchemy, without password."""
    query: str | None
    """The SQL query for a date and a close, with {ticker} for the market."""
    queries: dict[str, str]
    """By market, instead of `query`."""
    password_env: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] | None
    """The environment variable that holds the password for `url`."""
    password_file: PasswordFile
    """Or the file that holds it, such as a mounted Secret."""

    @field_validator("columns", "files", "queries")
    @classmethod
    def _of_known_markets(cls, values: dict[str, Any]) -> dict[str, Any]:
        for market in values:
            if market not in cls.MARKETS:
                raise ValueError(f"{market} is not a market; {choose(market, cls.MARKETS)}")
        return values

    @field_validator("query")
    @classmethod
    def _names_the_market(cls, query: str | None) -> str | None:
        if query and "{ticker}" not in query:
            raise ValueError("must contain {ticker}, because otherwise every market gets the same series")
        return query


def section(dataset: schema.Dataset) -> Section:
    """The section of a dataset that has one series for each market.

    Raises:
        Refused: the dataset has another structure.
    """
    if not isinstance(dataset, Section):
        fix = "set another source, as in dataset.source=csv"
        raise refuse(f"dataset.source={dataset.source}", f"dataset {dataset.name} has no series by market", fix)
    return dataset


def columns(section: Section, frame: pl.LazyFrame, where: str, markets: Sequence[str] | None = None) -> dict[str, str]:
    """The names of a table's columns for `date` and for each of `markets`, by default all.

    Raises:
        Refused: a column is missing.
    """
    needed = section.MARKETS if markets is None else markets
    if section.source in JOINED and markets is None:
        return {name: name for name in ("date", *needed)}
    dates = [section.date_column] if section.date_column else parsing.DATE_NAMES
    found = {"date": parsing.column(frame, dates, where, "set its name, as in dataset.date_column=day")}
    for market in needed:
        candidates = [section.columns.get(market) or market, f"{market}_close"]
        fix = f"set its name, as in dataset.columns.{market}=Close"
        found[market] = parsing.column(frame, candidates[: 1 if market in section.columns else 2], where, fix)
    return found


def read_closes(frame: pl.LazyFrame, where: str, names: Mapping[str, str], date_format: str | None) -> pl.DataFrame:
    """`date` and the close of each market, with types, sorted by date, one row for each date.

    Args:
        frame: the table.
        where: its name in error messages.
        names: the table's column names, by `date` and market.
        date_format: as `dataset.date_format`.

    Raises:
        Refused: everything that is wrong with the table, by column and row.
    """
    import polars as pl

    readers = {name: parsing.price_reader() for name in names.values()}
    readers[names["date"]] = parsing.date_reader(date_format)
    parsed = parsing.scan(frame, readers, where)
    if parsed[names["date"]].values.is_empty():
        raise refuse(where, "has a header and no rows", "add rows of dates and closes")
    parsing.refuse_findings(where, parsed.values())
    dates = parsed[names["date"]].values
    latest = date.today() + timedelta(days=1)  # in the east it is tomorrow already
    if (ahead := dates > latest).any():
        row = int(ahead.arg_max() or 0) + 1
        problem = f"{dates[row - 1]} is in the future ({int(ahead.sum())} rows)"
        raise refuse(f"{where}, column {names['date']}, row {row}", problem, "correct the date, or remove the row")
    if (twice := dates.is_duplicated()).any():
        day: Any = dates.filter(twice).min()
        rows = (dates == day).arg_true() + 1
        raise refuse(where, f"{day} is in rows {rows[0]} and {rows[1]}", "keep one row for each date")
    table = pl.DataFrame({name: parsed[column].values for name, column in names.items()})
    return table.select("date", *(name for name in names if name != "date")).sort("date")


def single(section: Section, market: str, frame: pl.LazyFrame, where: str, file: File | None = None) -> pl.DataFrame:
    """`date` and closes of one market from its own table; `file` has the table's column names.

    Raises:
        Refused: a column is missing, or as `read_closes`.
    """
    own = file or File(path="-")
    fixes = {
        "date": f"set its name, as in dataset.files.{market}={{path: ..., date_column: day}}",
        "close": f"set its name, as in dataset.files.{market}={{path: ..., close_column: last}}",
    }
    if file is None:
        fixes = {name: f"rename it in the query, as in SELECT day AS {name}" for name in fixes}
    date_column = own.date_column or section.date_column
    dates = [date_column] if date_column else parsing.DATE_NAMES
    closes = [own.close_column] if own.close_column else [market, f"{market}_close", "close"]
    names = {
        "date": parsing.column(frame, dates, where, fixes["date"]),
        market: parsing.column(frame, closes, where, fixes["close"]),
    }
    return read_closes(frame, where, names, own.date_format or section.date_format)


def join(parts: Sequence[pl.DataFrame], markets: Sequence[str]) -> pl.DataFrame:
    """All dates of all parts, sorted, with null where a market has no close."""
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.join(part, on="date", how="full", coalesce=True)
    return joined.sort("date").select("date", *markets)
