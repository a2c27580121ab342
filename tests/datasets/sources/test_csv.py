"""Delimited text: what is read, what is refused, and how much of it is in memory."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeline.datasets import parsing
from tapeline.datasets.sources import archives, fetch, header, parquet
from tapeline.datasets.sources import csv as source
from tapeline.errors import Refused


def scan(folder: Path, content: bytes) -> dict[str, list[str | None]]:
    path = folder / "table.csv"
    path.write_bytes(content)
    return source.scan(path, "table.csv").collect().to_dict(as_series=False)


cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=6).filter(
    lambda cell: cell.strip().lower() not in {name.lower() for name in parsing.DATE_NAMES}
)
"""A row with a name of the dates would be the header, and the lines above it would be a title."""


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(cells, cells, cells.filter(lambda cell: bool(cell.strip()))), min_size=1, max_size=12),
    separator=st.sampled_from(header.SEPARATORS),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    chunk=st.integers(1, 60),
    bom=st.booleans(),
)
def test_what_the_standard_library_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    separator: str,
    quoting: int,
    end: str,
    chunk: int,
    bom: bool,
) -> None:
    """Separators, quotes and new lines in quoted values, whatever the size of a chunk."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerow(["one", "two", "three"])
    writer.writerows(rows)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(source, "CHUNK", chunk)
        found = scan(tmp_path_factory.mktemp("csv"), (b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode())
    columns = {"one": 0, "two": 1, "three": 2}
    assert found == {name: [row[at] for row in rows] for name, at in columns.items()}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a,b\n1,2\n3,4,5\n", "table.csv, row 2: has 3 values, and the header has 2; give each row as many values"),
        (b"a,b\n1,2\n3\n4,5\n6\n", "table.csv, row 2: has 1 value, and the header has 2 (2 rows; also 4)"),
        (b"a,b\n1,2\n\n4,5\n", "table.csv, row 2: is blank"),
        (b"a,b\n1,\xe9\n", "is not UTF-8 text (byte 7)"),
        ("a,b\n1,2\n".encode("utf-16"), "is not UTF-8 text (byte 1)"),
        (b'a,b\n1,"2\n3,4\n', "has a quote that is not closed"),
        (b"<!DOCTYPE html><html><body>Sign in", "is an HTML page"),
    ],
)
def test_a_malformed_table_is_refused_by_row(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(Refused) as refused:
        scan(tmp_path, content)
    assert says in str(refused.value)


def test_rows_too_long_and_too_short_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        scan(tmp_path, b"a,b\n1\n1,2,3\n1,2\n")
    assert [finding.where for finding in refused.value.findings] == ["table.csv, row 1", "table.csv, row 2"]


@pytest.mark.parametrize("tail", [b"\n\n", b",\n,\n,", b"\r\n  \r\n", b'"",""\n'])
def test_blank_lines_at_the_end_are_left_out(tmp_path: Path, tail: bytes) -> None:
    assert scan(tmp_path, b"a,b\n1,\n3,4\n" + tail) == {"a": ["1", "3"], "b": [None, "4"]}


def test_the_separator_that_a_spreadsheet_names_is_no_header(tmp_path: Path) -> None:
    assert scan(tmp_path, b"sep=;\na;b\n1,5;2\n") == {"a": ["1,5"], "b": ["2"]}


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert scan(tmp_path, b"a,b") == {"a": [], "b": []}


@pytest.mark.parametrize("name", ["closes.csv.gz", "closes.csv.GZ"])
def test_a_compressed_file_and_a_url_are_read(tmp_path: Path, name: str) -> None:
    import fsspec

    content = b"a,b\n1,2\n"
    folder = tmp_path / "temporary"
    folder.mkdir()
    (tmp_path / name).write_bytes(gzip.compress(content, mtime=0))
    with fsspec.open(f"memory://{name}", "wb") as remote:
        remote.write(gzip.compress(content, mtime=0))
    paths = [fetch.local(str(each), "dataset.path", folder) for each in (tmp_path / name, f"memory://{name}")]
    assert [path.read_bytes() for path in paths] == [content, content]
    assert fetch.local(str(paths[0]), "dataset.path", folder) == paths[0]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv.gz", gzip.compress(b"a,b\n" * 99, mtime=0)[:-9], "is not a complete gzip file"),
        ("a.csv.gz", b"a,b\n", "is not a complete gzip file"),
        ("a.csv", b" \n\n", "the file is empty"),
        ("a.csv", b"", "the file is empty"),
    ],
)
def test_an_incomplete_file_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refused, match=says):
        fetch.local(str(tmp_path / name), "dataset.path", tmp_path)


def test_a_url_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for url in ("memory://absent.csv", "gopher://x/y.csv"):
        with pytest.raises(Refused, match=f"dataset.path={url}: cannot be read"):
            fetch.local(url, "dataset.path", tmp_path)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("remote", [True, False])
def test_a_file_that_is_too_large_is_refused(tmp_path: Path, packed: bool, remote: bool) -> None:
    import fsspec

    content = b"0" * 5_000_000
    content = gzip.compress(content, mtime=0) if packed else content
    name = f"memory://{tmp_path.name}/zeros" if remote else str(tmp_path / "zeros")
    with fsspec.open(name, "wb") as file:
        file.write(content)
    (tmp_path / "temporary").mkdir()
    with pytest.raises(Refused, match=r"zeros: has more than 1,000,000 bytes, decompressed; .*dataset.max_bytes="):
        fetch.local(name, "dataset.path", tmp_path / "temporary", within=archives.Bounds(bytes=1_000_000))
    largest = max(path.stat().st_size for path in (tmp_path / "temporary").iterdir()) if remote or packed else 0
    assert largest < 3_000_000, "no more is written than the bound and one step"


class Slow(BaseHTTPRequestHandler):
    """Sends a byte every 20 ms, or redirects to itself."""

    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/round.csv" else 200)
        self.send_header("Location", "/round.csv")
        self.end_headers()
        with contextlib.suppress(OSError):
            while self.path != "/round.csv":
                self.wfile.write(b"1")
                time.sleep(0.02)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def slow() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("page", "says"),
    [("slow.csv", "was not downloaded within 0.3 s; .*dataset.max_seconds"), ("round.csv", "redirects without end")],
)
def test_a_server_that_never_ends_is_refused(tmp_path: Path, slow: str, page: str, says: str) -> None:
    with pytest.raises(Refused, match=f"dataset.path={slow}/{page}: .*{says}"):
        fetch.local(f"{slow}/{page}", "dataset.path", tmp_path, within=archives.Bounds(seconds=0.3))


def test_a_cut_parquet_file_is_refused(tmp_path: Path) -> None:
    import polars as pl

    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": range(1000)}).write_parquet(path)
    assert parquet.scan(path, "a.parquet").collect()["a"].sum() == 499_500
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Refused, match="is not a complete Parquet file"):
        parquet.scan(path, "a.parquet")


def test_damage_inside_the_file_is_refused(tmp_path: Path) -> None:
    import polars as pl

    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": range(100_000)}).write_parquet(path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)  # the header of its first page
    path.write_bytes(content)
    with pytest.raises(Refused, match=r"a\.parquet: cannot be read completely"):
        parsing.scan(parquet.scan(path, "a.parquet"), {"a": parsing.number_reader()}, "a.parquet")
