"""Columns of text to dates, times and numbers: each form is read as it was written, and ambiguous values are found."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeline.datasets import parsing
from tapeline.datasets.parsing import columns
from tapeline.datasets.parsing.forms import DATE_FORMATS
from tapeline.errors import Refused

DAYS = [date(2010, 1, 1) + timedelta(days=step) for step in range(60)]
UNAMBIGUOUS = date(2010, 1, 27)
"""The day is not a valid month, and has no leading zero."""
CLOCKS = {
    " %H:%M": timedelta(minutes=1),
    "T%H:%M:%S": timedelta(seconds=1),
    " %H:%M:%S.%f": timedelta(microseconds=1),
    " %I:%M:%S %p": timedelta(seconds=1),
    " %I-%p": timedelta(hours=1),
    "T%H:%M:%SZ": timedelta(seconds=1),
    " %H:%M UTC": timedelta(minutes=1),
    " %H:%M:%S%z": timedelta(seconds=1),
}
"""Times of day after a date, and their precision."""
NUMERIC = [each for each in DATE_FORMATS if "%b" not in each and "%B" not in each]


def text(*values: Any) -> pl.Series:
    return pl.Series("c", list(values))


def sentences(parsed: parsing.Parsed) -> list[str]:
    return [str(finding.at("f")) for finding in parsed.findings]


def values(parsed: parsing.Parsed) -> list[Any]:
    assert not parsed.findings, sentences(parsed)
    return parsed.values.to_list()


@pytest.mark.parametrize("form", DATE_FORMATS)
@settings(max_examples=8)
@given(days=st.lists(st.dates(date(1970, 1, 1), date(2020, 12, 31)), max_size=20))
def test_every_form_of_a_day_comes_back(form: str, days: list[date]) -> None:
    days = [UNAMBIGUOUS, *days]
    column = text(*(day.strftime(form) for day in days))
    assert values(parsing.dates(column)) == days
    assert values(parsing.dates(column, form)) == days
    midnights = [datetime(day.year, day.month, day.day) for day in days]
    assert values(parsing.times(column)) == midnights


@pytest.mark.parametrize("clock", CLOCKS)
@settings(max_examples=8)
@given(
    form=st.sampled_from(DATE_FORMATS),
    moments=st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2020, 12, 31)), max_size=20),
)
def test_every_form_of_a_time_comes_back(clock: str, form: str, moments: list[datetime]) -> None:
    unit = CLOCKS[clock]
    moments = [datetime(2010, 1, 27, 15), *moments]
    moments = [each - (each - datetime(1970, 1, 1)) % unit for each in moments]
    written = [each.replace(tzinfo=ZoneInfo("Asia/Kolkata")) if "%z" in clock else each for each in moments]
    column = text(*(each.strftime(form + clock) for each in written))
    expected = [each - timedelta(hours=5, minutes=30) if "%z" in clock else each for each in moments]
    assert values(parsing.times(column)) == expected
    if "%I-" not in clock:
        assert values(parsing.times(column, form + clock)) == expected


@pytest.mark.parametrize(
    ("unit", "scale"), [("epoch_s", 1), ("epoch_ms", 10**3), ("epoch_us", 10**6), ("epoch_ns", 10**9)]
)
@settings(max_examples=8)
@given(seconds=st.lists(st.integers(315_532_800, 4_133_980_799), min_size=1, max_size=20))
def test_epochs_come_back_from_text_and_numbers(unit: str, scale: int, seconds: list[int]) -> None:
    expected = [datetime.fromtimestamp(each, UTC).replace(tzinfo=None) for each in seconds]
    numbers = [each * scale for each in seconds]
    for column in (
        text(*map(str, numbers)),
        pl.Series("c", numbers, dtype=pl.Int64),
        text(*(f"{n}.0" for n in numbers)),
    ):
        assert values(parsing.times(column)) == expected
        assert values(parsing.times(column, unit)) == expected


def test_an_epoch_that_is_exact_in_a_float_is_one() -> None:
    assert values(parsing.times(pl.Series("c", [1577836860.0]))) == [datetime(2020, 1, 1, 0, 1)]
    assert values(parsing.dates(text("1577836800"))) == [date(2020, 1, 1)]


def test_seconds_beside_milliseconds_are_found_by_row() -> None:
    parsed = parsing.times(text("1577836860", "1577836920", "1577836980000"))
    assert "row 3: '1577836980000' is not a time written as '1577836860' in row 1" in sentences(parsed)[0]
    assert parsed.values.to_list()[2] is None


def test_times_without_offset_have_the_given_zone() -> None:
    column = text("2024-03-09 16:00", "2024-03-11 16:00")
    assert values(parsing.times(column, zone="America/New_York")) == [
        datetime(2024, 3, 9, 21),
        datetime(2024, 3, 11, 20),
    ]
    with_offset = text("2024-03-09 16:00-05:00", "2024-03-11 16:00-04:00")
    assert values(parsing.times(with_offset, zone="Asia/Tokyo")) == [
        datetime(2024, 3, 9, 21),
        datetime(2024, 3, 11, 20),
    ]
    local = pl.Series("c", [datetime(2024, 3, 9, 16)])
    assert values(parsing.times(local, zone="America/New_York")) == [datetime(2024, 3, 9, 21)]
    aware = local.dt.replace_time_zone("Asia/Tokyo")
    assert values(parsing.times(aware, zone="America/New_York")) == [datetime(2024, 3, 9, 7)]


def test_an_hour_that_clocks_skip_or_repeat_is_found() -> None:
    column = text("2024-03-10 01:30", "2024-03-10 02:30", "2024-11-03 01:30")
    (finding,) = parsing.times(column, zone="America/New_York").findings
    assert (finding.rows, finding.count, finding.value) == ((2, 3), 2, "2024-03-10 02:30")


@pytest.mark.parametrize("form", ["%-d/%-m/%Y", "%-m/%-d/%Y", "%-d/%m/%y", "%d.%-m.%Y"])
def test_dates_without_zeros_are_read_where_all_are_so(form: str) -> None:
    assert values(parsing.dates(text(*(day.strftime(form) for day in DAYS)))) == DAYS


def test_a_date_that_lost_a_digit_is_no_other_date() -> None:
    for form in (None, "%Y-%m-%d"):
        assert (
            "row 2: '2010-01-2' is not a date"
            in sentences(parsing.dates(text("2010-01-27", "2010-01-2", "2010-01-29"), form))[0]
        )
    assert sentences(parsing.dates(text("20100111", "2010111")))


@pytest.mark.parametrize(
    "suffix", [" 00:00", "T00:00:00", " 00:00:00+00:00", "T00:00:00.000Z", " 00:00:00 UTC", " 00:00:00-05:00"]
)
def test_midnight_adds_nothing_to_a_day(suffix: str) -> None:
    assert values(parsing.dates(text(*(day.isoformat() + suffix for day in DAYS)))) == DAYS


def test_a_format_with_a_time_of_day_is_the_users_to_give() -> None:
    assert values(parsing.dates(text("01/02/2010 00:00"), "%m/%d/%Y %H:%M")) == [date(2010, 1, 2)]
    assert values(parsing.dates(text("2010-01-02 00:00:00+09:00"), "%Y-%m-%d %H:%M:%S%z")) == [date(2010, 1, 2)]
    assert "row 1: the time is not midnight" in sentences(parsing.dates(text("01/02/2010 15:00"), "%m/%d/%Y %H:%M"))[0]


def test_days_and_months_that_can_be_exchanged_are_found() -> None:
    column = text("01/02/2010", "03/04/2010", "05/06/2010")
    (sentence,) = sentences(parsing.dates(column))
    assert "can be read as %d/%m/%Y and as %m/%d/%Y" in sentence
    assert "dataset.date_format=%d/%m/%Y" in sentence
    assert values(parsing.dates(column, "%m/%d/%Y")) == [date(2010, 1, 2), date(2010, 3, 4), date(2010, 5, 6)]


def test_two_forms_in_one_column_are_found() -> None:
    for column in (("2010-01-13", "2010-01-14", "15/01/2010"), ("15/01/2010", "2010-01-13", "2010-01-14")):
        sentence = sentences(parsing.dates(text(*column)))[0]
        row, other = column.index("15/01/2010") + 1, column.index("2010-01-13") + 1
        assert f"row {row}: '15/01/2010' is not a date written as '2010-01-13' in row {other}" in sentence


@pytest.mark.parametrize(
    ("cells", "form", "says"),
    [
        (["yesterday"], None, "row 1: 'yesterday' is not a date"),
        (["2010-02-30"], None, "row 1: '2010-02-30' is not a day of the calendar"),
        (["2011-02-28", "2011-02-29", "2011-03-01"], None, "row 2: '2011-02-29' is not a day of the calendar"),
        (["28.02.2011", "29.02.2011"], "%d.%m.%Y", "row 2: '29.02.2011' is not a day of the calendar"),
        (["2010- 1-12"], None, "row 1: '2010- 1-12' is not a date"),
        (["2010-01-01", None], None, "row 2: the date is missing"),
        (["2010-01-01", " "], None, "row 2: the date is missing"),
        (["2010-01-01"], "%d/%m/%Y", "row 1: '2010-01-01' is not a date of the form %d/%m/%Y"),
        (["2010-01-01 09:30"], None, "the time is not midnight"),
        (["2010-01-01 00:00", "2010-01-01 00:01"], None, "row 2: the time is not midnight"),
        (["1066-10-14", "2010-01-01"], None, "row 1: the year of '1066-10-14' is not from 1500"),
        (["2015-01-01", "2105-01-02"], None, "row 2: the year of '2105-01-02' is not"),
        (["06/13/66", "06/01/71"], None, "row 1: the century of '06/13/66' is not clear"),
        (["06/13/66", "06/01/71"], "%m/%d/%y", "row 1: the century of '06/13/66' is not clear"),
        ([True], None, "has the type Boolean, not dates"),
    ],
)  # fmt: skip
def test_what_is_no_date_is_found(cells: list[Any], form: str | None, says: str) -> None:
    assert says in sentences(parsing.dates(text(*cells), form))[0]


@pytest.mark.parametrize("form", ["%Q", "%Y-%m", "%H:%M", "tomorrow", "%Y-%m-%d %Z"])
def test_what_is_no_format_is_refused(form: str) -> None:
    with pytest.raises(Refused, match=re.escape(f"dataset.date_format={form}: is not a date format")):
        parsing.dates(text("2010-01-01"), form)


def test_columns_with_a_type_keep_their_values() -> None:
    assert values(parsing.dates(pl.Series("c", DAYS))) == DAYS
    assert values(parsing.dates(pl.Series("c", [datetime(2010, 1, 1)]))) == [date(2010, 1, 1)]
    assert values(parsing.dates(pl.Series("c", [20100102]))) == [date(2010, 1, 2)]
    assert "not midnight" in sentences(parsing.dates(pl.Series("c", [datetime(2010, 1, 1, 9)])))[0]
    assert values(parsing.times(pl.Series("c", [date(2010, 1, 1)]))) == [datetime(2010, 1, 1)]
    assert values(parsing.prices(text(1.0, float("nan")))) == [1.0, None]
    assert values(parsing.integers(text(1.0, 2.0, None))) == [1, 2, None]


@settings(max_examples=20)
@given(st.lists(st.one_of(st.none(), st.floats(1e-6, 1e9)), min_size=1).filter(lambda each: any(each)))
def test_prices_come_back_as_they_were(cells: list[float | None]) -> None:
    cells = [*cells, 0.25]
    assert values(parsing.prices(text(*("" if value is None else repr(value) for value in cells)))) == cells
    assert values(parsing.prices(pl.Series("c", cells, dtype=pl.Float64))) == cells


@settings(max_examples=20)
@given(st.lists(st.decimals(-(10**9), 10**9, places=2), min_size=1))
def test_numbers_with_marks_for_thousands_come_back(cells: list[Any]) -> None:
    cells = [float(each) for each in cells]
    english = [f"{each:,.2f}" for each in cells]
    european = [each.translate(str.maketrans(",.", ".,")) for each in english]
    assert values(parsing.numbers(text(*english))) == cells
    assert values(parsing.numbers(text(*european))) == cells


def test_marks_of_missing_values_are_read_as_missing() -> None:
    column = text("1,234.5", " 12,345,678 ", "N/A", "-", "null", "7")
    assert values(parsing.prices(column)) == [1234.5, 12345678.0, None, None, None, 7.0]


@pytest.mark.parametrize("column", [("998", "1.003"), ("998", "1,003")])
def test_thousands_that_could_be_decimals_are_found(column: tuple[str, ...]) -> None:
    (sentence,) = sentences(parsing.prices(text(*column)))
    assert "can be read as" in sentence
    assert "1003.0" in sentence
    assert values(parsing.prices(text(*column, column[1] + column[1][1:]))) == [998.0, 1003.0, 1003003.0]


@pytest.mark.parametrize("value", ["$5", "1e", "0x10", "1.2.3", "1,2,3", "12,34.5"])
def test_what_is_no_price_is_found(value: str) -> None:
    assert f"row 2: {value!r} is not a price" in sentences(parsing.prices(text("1.5", value, "1,000.5")))[0]


@pytest.mark.parametrize("value", ["0", "-1", "inf", "-0.0"])
def test_a_price_is_above_zero_and_finite(value: str) -> None:
    assert f"row 2: {value!r} is not a price above zero" in sentences(parsing.prices(text("1", value)))[0]


def test_whole_numbers() -> None:
    assert values(parsing.integers(text("1", "2.0", "1,000", "", "007"))) == [1, 2, 1000, None, 7]
    (finding,) = parsing.integers(text("1", "2.5", str(2**63), "1.000")).findings
    assert finding.rows == (2, 3)
    assert values(parsing.integers(pl.Series("c", [2**53 + 1]))) == [2**53 + 1]
    assert parsing.integers(pl.Series("c", [2.0**60])).findings


def test_all_mistakes_of_a_table_are_refused_at_once() -> None:
    days = parsing.dates(text("2010-01-27", "soon", None))
    closes = parsing.prices(text("1", "x", "y", "-1"))
    with pytest.raises(Refused) as refused:
        parsing.refuse_findings("closes.csv", [days, closes])
    places = [finding.where for finding in refused.value.findings]
    assert places == [f"closes.csv, column c, row {row}" for row in (3, 2, 2, 4)]
    assert "2 rows; also 3" in str(refused.value)


READERS = {"day": parsing.date_reader(), "moment": parsing.time_reader(), "close": parsing.price_reader()}
CELLS = {
    "day": st.sampled_from(["2010-01-27", "2010-1-2", "28/01/2010", "", " 2010-01-29", "05/06/2010", "soon", None]),
    "moment": st.sampled_from(["2010-01-27 09:30", "2010-01-27T09:30", "1577836860", "2010-01-28 10:00", None, "x"]),
    "close": st.sampled_from(["1.5", "1,000", "1.003", "-", "0", "x", None, "2.000,5"]),
}


@settings(max_examples=40)
@given(rows=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=30))
def test_batches_and_the_whole_column_give_the_same_where_all_is_well(rows: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(CELLS, pl.String))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(columns, "BATCH", 3)
        parsed = parsing.scan(frame.lazy(), READERS, "f")
    for name, reader in READERS.items():
        whole = parsing.read(frame[name], reader)
        assert bool(parsed[name].findings) == bool(whole.findings)
        if not whole.findings:
            assert parsed[name].values.equals(whole.values)


def test_the_form_of_the_first_batch_may_be_settled_by_the_last() -> None:
    ambiguous = ["01/02/2010"] * 50
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(columns, "BATCH", 7)
        (parsed,) = parsing.scan(pl.LazyFrame({"c": [*ambiguous, "01/27/2010"]}), {"c": READERS["day"]}, "f").values()
        (ambiguous_only,) = parsing.scan(pl.LazyFrame({"c": ambiguous}), {"c": READERS["day"]}, "f").values()
    assert values(parsed)[0] == date(2010, 1, 2)
    assert "can be read as" in sentences(ambiguous_only)[0]


def test_rows_of_a_part_have_the_numbers_of_the_file() -> None:
    frame = pl.LazyFrame({"asset": ["a", "b"] * 3, "close": ["1", "2", "x", "4", "5", "y"]}).with_row_index("row", 1)
    found = {}
    for asset in ("a", "b"):
        part = frame.filter(pl.col("asset") == asset)
        (found[asset],) = parsing.scan(part, {"close": READERS["close"]}, "f", row="row")["close"].findings
    assert {asset: finding.rows for asset, finding in found.items()} == {"a": (3,), "b": (6,)}


def test_a_column_is_found_by_name_unless_there_are_two() -> None:
    frame = pl.LazyFrame(
        {" Date ": ["x"], "snp": ["1"], "SNP_close": ["2"], "Close": ["1"], "Close_duplicated_0": ["2"]}
    )
    assert parsing.column(frame, ["date", "time"], "f", "name it") == " Date "
    for candidates, says in ((["snp", "snp_close"], "snp, SNP_close"), (["close"], "2 columns called Close")):
        with pytest.raises(Refused, match=says):
            parsing.column(frame, candidates, "f", "name it")
    with pytest.raises(Refused, match=r"no column dax \(it has Date, snp"):
        parsing.column(frame, ["dax"], "f", "name it")


def test_a_header_below_other_lines_is_named() -> None:
    frame = pl.LazyFrame({"Security": ["Currency", "Date", "2010-01-01"], "NKY Index": ["JPY", "PX_LAST", "1"]})
    with pytest.raises(Refused, match="row 2, below other lines"):
        parsing.column(frame, ["date"], "f", "name it")
