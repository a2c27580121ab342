"""One query, or one for each market, in any database that SQLAlchemy has a driver for.

    tapeline run dataset.source=sql dataset.url=postgresql://reader@db/prices dataset.password_env=PGPASSWORD

The password comes from an environment variable or a file; no message shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from tapeline.config.schema import Dataset
from tapeline.config.secrets import password as reference
from tapeline.datasets.sources import Known, series
from tapeline.datasets.sources import query as single
from tapeline.errors import Finding, Refused, refuse
from tapeline.redaction import scrub

if TYPE_CHECKING:
    import polars as pl

READS = ("url", "queries", "password_env", "password_file")
EXTRAS = {"bigquery": "bigquery", "duckdb": "duckdb", "postgresql": "postgres"}
"""Extras of tapeline that install a database's driver."""
PSYCOPG = ("postgresql", "postgresql+psycopg", "postgresql+psycopg2")
CONNECT_SECONDS = 15
Section = series.Section | single.Section


def read(dataset: Dataset, simulate: object, folder: Path) -> tuple[pl.LazyFrame, str]:
    """The result of the query; or those of all markets, joined by date.

    Raises:
        Refused: password, driver, database or table is missing, or a result is wrong, by row.
    """
    section = _section(dataset)
    if findings := list(check(section)):
        raise Refused(*findings)
    password = reference("dataset", section.password_env, section.password_file)
    parts = []
    with _connected(section, password) as connection:
        if isinstance(section, single.Section):
            frame = _result(connection, "dataset.query", section.query or "", password)
            return frame.lazy(), "dataset.query"
        for market in section.MARKETS:
            own = market in section.queries
            where = f"dataset.queries.{market}" if own else f"dataset.query for {market}"
            query = section.queries.get(market) or (section.query or "").replace("{ticker}", market)
            frame = _result(connection, where, query, password)
            parts.append(series.single(section, market, frame.lazy(), f"the query for {market}"))
    return series.join(parts, section.MARKETS).lazy(), "dataset.query"


def check(dataset: Dataset) -> Iterator[Finding]:
    """The database URL and the query, or a query for every market, are needed."""
    section = _section(dataset)
    if not section.url:
        yield Finding("dataset.url", "dataset.source=sql needs it", "set it, as in dataset.url=sqlite:///closes.db")
    if isinstance(section, single.Section):
        if not section.query:
            fix = "set it, as in dataset.query='SELECT * FROM prices'"
            yield Finding("dataset.query", "dataset.source=sql needs it", fix)
        return
    missing = [market for market in section.MARKETS if market not in section.queries]
    if not section.query and missing:
        fix = f"set dataset.query with {{ticker}} for the market, or dataset.queries.{missing[0]}"
        yield Finding("dataset.query", f"there is no query for {', '.join(missing)}", fix)


def seen(dataset: Dataset, known: Known | None = None) -> str | None:
    """None: only a query shows whether a database changed."""
    return None


def _section(dataset: Dataset) -> Section:
    return dataset if isinstance(dataset, single.Section) else series.section(dataset)


@contextmanager
def _connected(section: Section, password: str | None) -> Iterator[Any]:
    """A database connection; it is closed without a commit."""
    try:
        import sqlalchemy
    except ImportError:
        raise refuse("dataset.source=sql", "SQLAlchemy is not installed", "install tapeline[steps]") from None
    try:
        url = sqlalchemy.make_url(section.url or "")
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise refuse("dataset.url", "is not a database URL", "write it as in postgresql://user@host/db") from None
    _check_file(url)
    extra = EXTRAS.get(url.get_backend_name())
    fix = f"install tapeline[{extra}]" if extra else "install its driver for SQLAlchemy"
    try:
        full = _read_only(url.set(password=password) if password else url)
        connection = sqlalchemy.create_engine(
            full, poolclass=sqlalchemy.NullPool, hide_parameters=True, connect_args=_arguments(url)
        ).connect()
    except (ImportError, sqlalchemy.exc.NoSuchModuleError):
        raise refuse("dataset.url", f"the driver of {url.drivername} is not installed", fix) from None
    except Exception as error:  # each driver raises its own exceptions
        what = f"the database cannot be opened ({_message(error, password)})"
        raise refuse("dataset.url", what, "check host, database, user and password") from None
    with connection:
        yield connection


def _is_file(url: Any) -> bool:
    name = url.database or ":memory:"
    return url.get_backend_name() in ("sqlite", "duckdb") and not name.startswith((":memory:", "file:", "md:"))


def _check_file(url: Any) -> None:
    """Refuse a missing file, because the drivers would create it."""
    if _is_file(url) and not Path(url.database).is_file():
        raise refuse(f"dataset.url={url.drivername}:///{url.database}", "no such file", "set it to a file that exists")


def _read_only(url: Any) -> Any:
    """The URL of a file of SQLite in its form that opens the file for reading only; other URLs as they are."""
    name = url.database or ""
    if url.get_backend_name() != "sqlite" or name in ("", ":memory:"):
        return url
    path = name if name.startswith("file:") else "file:" + quote(str(Path(name).absolute()))
    memory = ":memory:" in path or url.query.get("mode") == "memory"
    return url if memory else url.set(database=path).update_query_dict({"mode": "ro", "uri": "true"})


def _arguments(url: Any) -> dict[str, Any]:
    """Driver arguments: a timeout for the connection, and read-only access to a file."""
    if url.drivername in PSYCOPG and "connect_timeout" not in url.query:
        return {"connect_timeout": CONNECT_SECONDS}
    if url.get_backend_name() == "duckdb" and _is_file(url):
        return {"read_only": True}
    return {}


def _result(connection: Any, where: str, query: str, password: str | None) -> pl.DataFrame:
    """The result of a query; `where` names its key in messages."""
    import polars as pl

    try:
        # the driver must not read % and : in the query as parameters
        result = connection.execution_options(no_parameters=True).exec_driver_sql(query)
        names, rows = list(result.keys()), result.fetchall()
    except Exception as error:  # each driver raises its own exceptions
        raise refuse(
            where, f"the query failed ({_message(error, password)})", "correct the query or the table"
        ) from None
    if not rows:
        raise refuse(where, "the query returns no rows", "correct the query, or fill the table")
    if len(set(names)) < len(names):
        raise refuse(
            where, f"two columns have the same name (it returns {', '.join(names)})", "select each column once"
        )
    return pl.DataFrame([_column(name, [row[i] for row in rows]) for i, name in enumerate(names)])


def _column(name: str, values: Sequence[Any]) -> pl.Series:
    """Python values as a column with their type; text if the types are mixed, which SQLite allows."""
    import polars as pl

    def every(*kinds: type) -> bool:
        return all(value is None or (isinstance(value, kinds) and not isinstance(value, bool)) for value in values)

    if every(int):
        return pl.Series(name, values, dtype=pl.Int128)
    if every(int, float, Decimal):
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    if every(datetime):
        return pl.Series(name, [_in_utc(value) for value in values], dtype=pl.Datetime("us"))
    if every(date) and not any(isinstance(value, datetime) for value in values):
        return pl.Series(name, values, dtype=pl.Date)
    return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)


def _in_utc(moment: datetime | None) -> datetime | None:
    """A time with zone as UTC without zone: the zone of the session is not part of the data."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment and moment.tzinfo else moment


def _message(error: BaseException, password: str | None) -> str:
    """The first line of the driver's error message, without the password."""
    cause = getattr(error, "orig", None) or error
    lines = [" ".join(line.split()) for line in str(cause).splitlines() if line.strip()]
    sentence = lines[0] if lines else type(cause).__name__
    for form in {password, quote(password, safe=""), quote_plus(password)} if password else ():
        sentence = sentence.replace(form, "***")
    return scrub(sentence)
