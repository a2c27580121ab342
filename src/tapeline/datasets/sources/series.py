"""One series of closes for each market, from a table of its own; all joined on their dates.

The schema of datasets that `files` and `sql` can read, and what these two have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from tapeline.config import schema
from tapeline.datasets import parsing
from tapeline.errors import choose, refuse

if TYPE_CHECKING:
    import polars as pl

JOINED = ("files", "sql")
"""Sources that have joined one series for each market, typed and under the markets' own names."""


class File(schema.Section):
    """One market's file: its path, and its own names where they differ."""

    path: Annotated[str, Field(min_length=1)]
    date_column: str | None = None
    """null: as dataset.date_column."""
    close_column: str | None = None
    """null: the market's, as in a table of all; else Close."""
    date_format: str | None = None
    """null: as dataset.date_format."""


def _path_alone(given: Any) -> Any:
    return {"path": given} if isinstance(given, str) else given


class Section(schema.Dataset):
    """The keys of a dataset that has one series for each market."""

    MARKETS: ClassVar[tuple[str, ...]]
    columns: dict[str, str]
    """Names in the table, by market, where they are not `<market>` or `<market>_close`."""
    date_column: str | None
    date_format: str | None
    """strptime; null where it can be told from the values."""
    files: dict[str, Annotated[File, BeforeValidator(_path_alone)]]
    """By market, for the source files; a path alone will do."""
    url: str | None
    """Of a database, as SQLAlchemy writes it, without password."""
    query: str | None
    """What selects a date and a close, with {ticker} for the market."""
    queries: dict[str, str]
    """By market, where `query` does not do."""
    password_env: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] | None
    """The environment variable that holds the password for `url`."""
    password_file: str | None
    """Or the file that holds it, as secrets are mounted."""

    @field_validator("columns", "files", "queries")
    @classmethod
    def _of_known_markets(cls, given: dict[str, Any]) -> dict[str, Any]:
        for market in given:
            if market not in cls.MARKETS:
                raise ValueError(f"{market} is no market; {choose(market, cls.MARKETS)}")
        return given

    @field_validator("query")
    @classmethod
    def _names_the_market(cls, query: str | None) -> str | None:
        if query and "{ticker}" not in query:
            raise ValueError("must hold {ticker}, or every market would get the same series")
        return query

    @field_validator("password_file")
    @classmethod
    def _one_password(cls, file: str | None, info: ValidationInfo) -> str | None:
        if file and info.data.get("password_env"):
            raise ValueError("must be null where dataset.password_env is set")
        return file


def section(dataset: schema.Dataset) -> Section:
    """The dataset, of which a source of single series asks more than of others.

    Raises:
        Refused: the dataset does not come as one series for each market.
    """
    if not isinstance(dataset, Section):
        fix = "choose another source"
        raise refuse(f"dataset.source={dataset.source}", f"{dataset.name} is not made of single series", fix)
    return dataset


def columns(section: Section, frame: pl.LazyFrame, where: str, markets: Sequence[str] | None = None) -> dict[str, str]:
    """A table's columns for `date` and for each market; all markets unless named.

    Raises:
        Refused: a column is not there.
    """
    wanted = section.MARKETS if markets is None else markets
    if section.source in JOINED and markets is None:
        return {name: name for name in ("date", *wanted)}
    dates = [section.date_column] if section.date_column else parsing.DATE_NAMES
    found = {"date": parsing.column(frame, dates, where, "name it with dataset.date_column=...")}
    for market in wanted:
        candidates = [section.columns.get(market) or market, f"{market}_close"]
        fix = f"name it with dataset.columns.{market}=..."
        found[market] = parsing.column(frame, candidates[: 1 if market in section.columns else 2], where, fix)
    return found


def tidy(frame: pl.LazyFrame, where: str, names: Mapping[str, str], date_format: str | None) -> pl.DataFrame:
    """`date` and closes by market from the columns that `names` gives: typed, sorted, one row a day.

    Raises:
        Refused: all that is wrong with the table, by column and row.
    """
    import polars as pl

    readers = {name: parsing.price_reader() for name in names.values()}
    readers[names["date"]] = parsing.date_reader(date_format)
    parsed = parsing.scan(frame, readers, where)
    if parsed[names["date"]].values.is_empty():
        raise refuse(where, "has a header and no rows", "give the closes")
    parsing.refuse_findings(where, parsed.values())
    dates = parsed[names["date"]].values
    if (twice := dates.is_duplicated()).any():
        day: Any = dates.filter(twice).min()
        rows = (dates == day).arg_true() + 1
        raise refuse(where, f"{day} stands in rows {rows[0]} and {rows[1]}", "leave one row a day")
    table = pl.DataFrame({name: parsed[column].values for name, column in names.items()})
    return table.select("date", *(name for name in names if name != "date")).sort("date")


def single(section: Section, market: str, frame: pl.LazyFrame, where: str, file: File | None = None) -> pl.DataFrame:
    """One market's `date` and closes from a table of its own; `file` holds that table's names.

    Raises:
        Refused: a column is not there, or as `tidy`.
    """
    own = file or File(path="-")
    fixes = {
        "date": f"name it with dataset.files.{market}={{path: ..., date_column: ...}}",
        "close": f"name it with dataset.files.{market}={{path: ..., close_column: ...}}",
    }
    if file is None:
        fixes = {name: f"name it so in the query, as in SELECT day AS {name}" for name in fixes}
    date_column = own.date_column or section.date_column
    dates = [date_column] if date_column else parsing.DATE_NAMES
    closes = [own.close_column] if own.close_column else [market, f"{market}_close", "close"]
    names = {
        "date": parsing.column(frame, dates, where, fixes["date"]),
        market: parsing.column(frame, closes, where, fixes["close"]),
    }
    return tidy(frame, where, names, own.date_format or section.date_format)


def join(parts: Sequence[pl.DataFrame], markets: Sequence[str]) -> pl.DataFrame:
    """Every date of every part, sorted, with null where a market has no close."""
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.join(part, on="date", how="full", coalesce=True)
    return joined.sort("date").select("date", *markets)
