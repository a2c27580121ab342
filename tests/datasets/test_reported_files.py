"""Files that users reported: what is unambiguous is read, and else the refusal names file, row and fault."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from tapeline.errors import Refused
from tests.datasets.closes import MARKETS, Rows, rows, table, write
from tests.datasets.sources.test_files import ingest

BODY = rows()
HEAD = ["date", *MARKETS]
NIKKEI = 1 + MARKETS.index("nikkei")
Text = Callable[[date], str]


def read(folder: Path, one: Path, keys: str = "") -> pl.DataFrame:
    """The Nikkei from a file of its own, the rest from the table."""
    own = f"{{path: {one}{keys}}}"
    return ingest("dataset.source=files", f"dataset.path={table(folder)}", f"dataset.files.nikkei={own}")


def same(found: pl.DataFrame) -> bool:
    """Whether the Nikkei has its dates and closes."""
    closes = found.select("date", "nikkei").drop_nulls()
    return closes.rows() == [(row[0], row[NIKKEI]) for row in BODY]


def closes(text: Callable[[float], str] = "{:.2f}".format, day: Text = date.isoformat) -> list[list[str]]:
    return [[day(row[0]), text(row[NIKKEI])] for row in BODY]


def german(value: float) -> str:
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


YFINANCE = [["Price", "Close", "High"], ["Ticker", "^N225", "^N225"], ["Date", "", ""]]
SYMBOLS = [["Price", "Close", "Close"], ["Ticker", "^N225", "^FTSE"], ["Date", "", ""]]
BLOOMBERG = [["Security", "NKY Index", ""], ["Start Date", "1/2/12", ""], ["", "", ""], ["Date", "PX_LAST", "VOL"]]


def other(line: list[str]) -> list[str]:
    return [*line, "1.00"]


@pytest.mark.parametrize(
    ("head", "body", "separator", "keys"),
    [
        pytest.param([["Date", "Close"]], closes(german), ";", "", id="decimal commas"),
        pytest.param([["sep=;"], ["Date", "Close"]], closes(german), ";", "", id="sep and decimal commas"),
        pytest.param(YFINANCE, list(map(other, closes())), ",", "", id="yfinance, one ticker"),
        pytest.param(SYMBOLS, list(map(other, closes())), ",", ", close_column: '^N225'", id="yfinance, two tickers"),
        pytest.param(
            [["Date", "Close"]], closes(day=lambda day: f"{day} 00:00:00+09:00"), ",", "", id="yfinance's offsets"
        ),
        pytest.param(BLOOMBERG, list(map(other, closes())), ",", ", close_column: PX_LAST", id="preamble"),
        pytest.param([["# from a terminal"], ["Day", "Close"]], closes(), ",", ", date_column: day", id="a comment"),
        pytest.param([["Date", "Close"]], [*closes(), [""], [""]], ",", "", id="blank lines at the end"),
        pytest.param(
            [["Date", "Close"]],
            closes(day=lambda day: f"{day:%m/%d/%Y} 00:00"),
            ",",
            ", date_format: '%m/%d/%Y %H:%M'",
            id="a date_format with midnight",
        ),
    ],
)
def test_what_is_unambiguous_is_read(
    tmp_path: Path, head: list[list[str]], body: list[list[str]], separator: str, keys: str
) -> None:
    for end in ("\n", "\r\n"):
        one = write(tmp_path / "one.csv", head[0], [*head[1:], *body], separator, end)
        assert same(read(tmp_path, one, keys))


def test_a_packed_file_is_known_by_its_content(tmp_path: Path) -> None:
    plain = write(tmp_path / "one.csv", ["Date", "Close"], closes()).read_bytes()
    for name in ("one.csv.GZ", "packed.csv"):
        (tmp_path / name).write_bytes(gzip.compress(plain, mtime=0))
        assert same(read(tmp_path, tmp_path / name))


def test_a_table_from_1789_is_read(tmp_path: Path) -> None:
    old = [[date(1789, month, 1), *BODY[0][1:]] for month in range(5, 10)]
    path = table(tmp_path, [*old, *BODY])
    raw = ingest("dataset.source=csv", f"dataset.path={path}")
    assert raw["date"][0] == date(1789, 5, 1)
    recent = ingest("dataset.source=csv", f"dataset.path={path}", "dataset.cutoff_year=1950")
    assert recent["date"].to_list() == [row[0] for row in BODY]


def edited(change: Callable[[Rows], object]) -> Rows:
    body = [list(row) for row in BODY]
    change(body)
    return body


IN_THOUSANDS = [[row[0], f"{950 + at:,}".replace(",", "."), *row[2:]] for at, row in enumerate(BODY)]


@pytest.mark.parametrize(
    ("head", "body", "says"),
    [
        pytest.param(
            HEAD, edited(lambda b: b.__setitem__(49, b[49][:4])), "all.csv, row 50: has 4 values", id="short row"
        ),
        pytest.param(
            HEAD,
            [[f"{row[0]:%m/%d/%y}", *row[1:]] for row in rows(1400, date(1966, 6, 1))],
            "all.csv, column date, row 1: the century of '06/01/66' is not clear",
            id="two-digit years",
        ),
        pytest.param(
            HEAD,
            edited(lambda b: b[7].__setitem__(0, "2066-01-03")),
            "all.csv, column date, row 8: 2066-01-03 is in the future",
            id="a year in the future",
        ),
        pytest.param(
            HEAD,
            edited(lambda b: b[7].__setitem__(0, "2105-01-03")),
            "all.csv, column date, row 8: the year of '2105-01-03'",
            id="a year too late",
        ),
        pytest.param(
            HEAD,
            edited(lambda b: b[7].__setitem__(0, "2011-02-29")),
            "all.csv, column date, row 8: '2011-02-29' is not a day of the calendar",
            id="29 February 2011",
        ),
        pytest.param(HEAD, IN_THOUSANDS, "column snp: the prices can be read as", id="dots for thousands"),
        pytest.param(
            [*HEAD, "snp_close"],
            [[*row, row[1]] for row in BODY],
            "all.csv: has the columns snp, snp_close, and each could be the snp",
            id="snp beside snp_close",
        ),
        pytest.param(
            HEAD, [*BODY[:40], HEAD, *BODY[40:]], "all.csv, row 41: is the header again", id="a second header"
        ),
        pytest.param(
            HEAD, [["", *["USD"] * 8], *BODY], "all.csv, row 1: has names or units and no values (USD", id="units"
        ),
        pytest.param(
            HEAD,
            [[row[0], f"{row[1]:.2f}".replace(".", ","), *row[2:]] for row in BODY],
            "all.csv: each row has 10 values, and the header has 9; name each column, or, if numbers have decimal",
            id="decimal commas between commas",
        ),
    ],
)
def test_what_has_two_readings_is_refused_by_row_and_fault(
    tmp_path: Path, head: list[str], body: Rows, says: str
) -> None:
    write(tmp_path / "all.csv", head, body)
    with pytest.raises(Refused) as refused:
        ingest("dataset.source=csv", f"dataset.path={tmp_path}/all.csv")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("head", "body", "keys", "says"),
    [
        pytest.param(
            ["Date", "Close", "Close"],
            [[*line, "1.00"] for line in closes()],
            "",
            "one.csv: has 2 columns called Close",
            id="two closes",
        ),
        pytest.param(
            ["Date", "Close"],
            closes(day=lambda day: f"{day.month}/{day.day}/{day.year} 15:00:00"),
            ", date_format: '%m/%d/%Y %H:%M:%S'",
            "one.csv, column Date, row 1: the time is not midnight",
            id="a time in date_format",
        ),
    ],
)  # fmt: skip
def test_a_file_of_one_market_is_refused_by_row_and_fault(
    tmp_path: Path, head: list[str], body: list[list[str]], keys: str, says: str
) -> None:
    one = write(tmp_path / "one.csv", head, body)
    with pytest.raises(Refused) as refused:
        read(tmp_path, one, keys)
    assert says in str(refused.value)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 6])
def test_a_number_cut_off_at_the_end_is_refused(tmp_path: Path, cut: int) -> None:
    """Without a line end after it; one that is complete is read."""
    path = table(tmp_path)
    complete = path.read_bytes().rstrip(b"\n")
    path.write_bytes(complete)
    assert len(ingest("dataset.source=csv", f"dataset.path={path}")) == len(BODY)
    path.write_bytes(complete[:-cut])
    with pytest.raises(Refused, match=r"all\.csv, row 100: the file ends here"):
        ingest("dataset.source=csv", f"dataset.path={path}")


def excel() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (excel(), "is a document of Excel"),
        (b"PAR1rest", "is a Parquet file"),
        (b'{"error": "sign in"}', "is JSON"),
        (b"\n <!DOCTYPE html><p>Sign in", "is an HTML page"),
        (b"date,snp\r2012-01-02,1\r", "has line ends CR"),
        (b",".join(b"c%d" % at for at in range(5000)) + b"\n", "has 5,000 columns, more than dataset.max_columns=2000"),
    ],
)
def test_what_is_no_table_of_text_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "all.csv"
    path.write_bytes(content)
    with pytest.raises(Refused, match=rf"all\.csv: {says}"):
        ingest("dataset.source=csv", f"dataset.path={path}")
