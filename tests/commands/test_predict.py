from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tapeline.cli.main import main
from tapeline.commands.predict.rows import Served, from_file
from tapeline.datasets.indices.simulation import simulate
from tapeline.errors import Refused
from tapeline.serving import client
from tapeline.serving.servers.server import Server, follow_store
from tests.serving.servables import http, pin, running, until, write

MODEL = ["model=flat", "model.steps=50", "gate.threshold=0.1", "gate.baseline_margin=null"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides for a store with a flat model of simulated indices, and a toy of three features."""
    folder = tmp_path_factory.mktemp("place")
    places = [f"serving.store={folder}/store", f"target.runs={folder}/runs", f"target.cache={folder}/cache"]
    assert main(["run", *MODEL, *places]) == 0
    write(folder / "store" / "m" / "1", "aaaaaaaaaaaa")
    pin(folder / "store", m=1)
    return places


@pytest.fixture(scope="module")
def served(place: list[str]) -> Iterator[Server]:
    with running(follow_store(place[0].partition("=")[2])) as started:
        for name in ("indices-simulated", "m"):
            until(lambda name=name: http(started.rest_port, f"/v1/models/{name}/metadata")[0] == 200)  # type: ignore[misc]
        yield started


@pytest.fixture
def ask(place: list[str], served: Server, capsys: pytest.CaptureFixture[str]) -> Any:
    """The exit code, and the last line's object or what was refused."""

    def predict(*words: str) -> tuple[int, Any]:
        ports = [f"serving.grpc_port={served.grpc_port}", f"serving.rest_port={served.rest_port}"]
        code = main(["predict", "json=true", *ports, place[0], place[2], *words])
        said = capsys.readouterr()
        return code, json.loads(said.out.splitlines()[-1]) if code == 0 else said.err

    return predict


def test_both_apis_answer_alike(ask: Any) -> None:
    (_, rest), (_, grpc) = ask("random=true"), ask("random=true", "api=grpc")
    assert list(rest) == ["date", "prediction", "probability", "model_version", "version", "latency_ms"]
    for record in (rest, grpc):
        assert record.pop("latency_ms") > 0
    assert rest == grpc
    assert rest["prediction"] == int(rest["probability"][1] > 0.5)
    assert ask("random=true", "seed=1")[1]["date"] != rest["date"]


def test_a_date_and_the_latest_day(ask: Any) -> None:
    _, latest = ask()
    assert ask(f"date={latest['date']}", "version=1")[1]["probability"] == latest["probability"]
    code, said = ask("date=1700-01-01")
    assert code == 2
    assert "has no row of it; give a day of trading from" in said
    assert "is not a date" in ask("date=yesterday")[1]


def test_a_file_of_rows_by_name(ask: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("date,c,b,a\n2020-01-01,1,1,1\n2020-01-02,-1,-1,-1\n")
    for api in ("rest", "grpc"):
        record = ask(f"rows={rows}", "serving.name=m", f"api={api}")[1]
        assert (record["date"], record["prediction"]) == (["2020-01-01", "2020-01-02"], [1, 0])
        assert len(record["probability"]) == 2
        assert (record["model_version"], record["version"]) == ("aaaaaaaaaaaa", 1)
    rows.write_text("a,b,d\n1,1,1\n")
    assert (
        "the rows lack c and have d, which it does not know; give these: a, b, c"
        in ask(f"rows={rows}", "serving.name=m")[1]
    )


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_what_the_server_refuses_is_one_sentence(ask: Any, tmp_path: Path, api: str) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b\n1,1\n")
    cases = {
        ("version=9",): "indices-simulated version 9: is not served on 127.0.0.1",
        ("serving.name=nope",): "serving.name=nope: is not served; live are: indices-simulated, m",
        ("serving.name=nope", "serving.store=/nowhere"): "nope: is not served on 127.0.0.1",
        ("host=127.0.0.1:1",): "127.0.0.1:1: no server answers",
        ("host=http://x",): "is not a valid address",
        (f"rows={rows}", "serving.name=m", "serving.store=/nowhere"): "expects 3 features per row, but",
        ("version=one",): "is not a version number",
        ("random=true", f"rows={rows}"): "name different rows",
    }
    for words, sentence in cases.items():
        code, said = ask(f"api={api}", *words)
        assert code == 2, words
        assert sentence in said
        assert said.count("\n") == 1


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_a_server_that_is_there_and_does_not_answer(ask: Any, monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code, said = ask(f"api={api}", f"host=127.0.0.1:{silent.getsockname()[1]}")
    assert code == 2
    assert "the server there does not answer within 0.01 s" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no rows"),
        ("a,b\n", "has no rows"),
        ("1,2\n3,4\n", "has no header"),
        ("a,a\n1,2\n", "names a column twice"),
        ("a,b\n1\n", "row 1: has 1 values, and the header 2"),
        ("a,b\n1,2\n1,nan\n", "row 2, column b: 'nan' is not a finite number"),
        ("a,b\n1,x\n", "row 1, column b: 'x' is not a finite number"),
    ],
)
def test_files_that_hold_no_rows(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(Refused, match=said):
        from_file(path, Served(None))
    with pytest.raises(Refused, match="cannot be read"):
        from_file(tmp_path / "none.csv", Served(None))


def test_every_cell_that_is_no_number_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n" + "x,1\n" * 30 + "1,y\n")
    with pytest.raises(Refused) as refused:
        from_file(path, Served(None))
    assert len(refused.value.findings) == 21
    assert "has 11 more such cells" in str(refused.value)


@pytest.fixture
def say(place: list[str], served: Server, capsys: pytest.CaptureFixture[str]) -> Any:
    """What is printed for people."""

    def predict(*words: str) -> tuple[int, str]:
        ports = [f"serving.grpc_port={served.grpc_port}", f"serving.rest_port={served.rest_port}"]
        code = main(["predict", *ports, place[0], place[2], *words])
        said = capsys.readouterr()
        return code, said.out if code == 0 else said.err

    return predict


def closes(path: Path, days: int, suffix: str = "") -> list[str]:
    """The last days of simulated closes as a CSV file, the US closes of the last day left blank; the dates."""
    frame = simulate(0).filter(pl.col("snp").is_not_null()).tail(days)
    unknown = pl.int_range(days) == days - 1
    markets = {name: pl.when(unknown).then(None).otherwise(name).alias(name) for name in ("snp", "nyse", "djia")}
    frame = frame.with_columns(**markets).rename({name: name + suffix for name in frame.columns if name != "date"})
    frame.write_csv(path)
    return [str(day) for day in frame["date"]]


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_the_closes_that_people_have_are_enough(ask: Any, say: Any, tmp_path: Path, api: str) -> None:
    dates = closes(tmp_path / "closes.csv", 30, suffix="_close" if api == "grpc" else "")
    code, record = ask(f"rows={tmp_path / 'closes.csv'}", f"api={api}")
    assert code == 0, record
    assert record["date"] == dates[4:]
    assert set(record["prediction"]) <= {0, 1}
    assert record["probability"][-1] == pytest.approx(ask()[1]["probability"], abs=1e-6)
    code, said = say(f"rows={tmp_path / 'closes.csv'}", f"api={api}")
    word = "down" if record["prediction"][-1] else "up or flat"
    assert said.splitlines()[-2].startswith(f"{dates[-1]}: {word}, ")
    assert "the last 20 of 26 rows" in said
    assert max(map(len, said.splitlines())) <= 80


def test_closes_that_are_too_few_or_not_sorted(say: Any, tmp_path: Path) -> None:
    path = tmp_path / "closes.csv"
    closes(path, 4)
    assert "has 4 rows, and an answer needs 5" in say(f"rows={path}")[1]
    closes(path, 9)
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *reversed(lines)]))
    assert "sort the rows by date" in say(f"rows={path}")[1]
    path.write_text("open,high\n1,2\n")
    assert "or date and snp, nyse, djia" in say(f"rows={path}")[1]


def test_a_row_without_an_answer_says_so(say: Any, tmp_path: Path) -> None:
    path = tmp_path / "closes.csv"
    closes(path, 6)
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *(",".join([*line.split(",")[:-1], ""]) for line in lines)]))
    said = say(f"rows={path}")[1]
    assert said.count("no answer, since a value that it needs is missing") == 2


def test_names_that_are_live_are_said(say: Any) -> None:
    code, said = say()
    assert (code, said.splitlines()[-1]) == (0, "also live: m; ask one with serving.name=m")
    code, said = say("serving.name=indices")
    assert code == 2
    assert "serving.name=indices: is not served; live are: indices-simulated, m; choose one" in said


def test_asking_imports_no_tensorflow() -> None:
    code = (
        "import sys; from tapeline.errors import Refused\n"
        "from tapeline.serving.client import Endpoint, GrpcClient, RestClient\n"
        "for api, kind in (('grpc', GrpcClient), ('rest', RestClient)):\n"
        "    try: kind(Endpoint('127.0.0.1', 1, 'm', api)).metadata(None)\n"
        "    except Refused: pass\n"
        "    else: sys.exit(1)\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
