from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tapeline.cli.main import main
from tapeline.commands.predict.rows import read
from tapeline.errors import Refused
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
        code = main(["predict", *ports, *place, *words])
        said = capsys.readouterr()
        return code, json.loads(said.out.splitlines()[-1]) if code == 0 else said.err

    return predict


def test_both_apis_answer_alike(ask: Any) -> None:
    (_, rest), (_, grpc) = ask("random=true"), ask("random=true", "api=grpc")
    assert list(rest) == ["date", "prediction", "probability", "model_version", "version", "latency_ms"]
    for told in (rest, grpc):
        assert told.pop("latency_ms") > 0
    assert rest == grpc
    assert rest["prediction"] == int(rest["probability"][1] > 0.5)
    assert ask("random=true", "seed=1")[1]["date"] != rest["date"]


def test_a_date_and_the_latest_day(ask: Any) -> None:
    _, latest = ask()
    assert ask(f"date={latest['date']}", "version=1")[1]["probability"] == latest["probability"]
    code, said = ask("date=1700-01-01")
    assert code == 2
    assert "has no row of it; give a day of trading from" in said
    assert "is no date" in ask("date=yesterday")[1]


def test_a_file_of_rows_by_name(ask: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("date,c,b,a\n2020-01-01,1,1,1\n2020-01-02,-1,-1,-1\n")
    for api in ("rest", "grpc"):
        told = ask(f"rows={rows}", "serving.name=m", f"api={api}")[1]
        assert (told["date"], told["prediction"]) == (["2020-01-01", "2020-01-02"], [1, 0])
        assert len(told["probability"]) == 2
        assert (told["model_version"], told["version"]) == ("aaaaaaaaaaaa", 1)
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
        ("serving.name=nope",): "nope: is not served on 127.0.0.1",
        ("host=127.0.0.1:1",): "127.0.0.1:1: no server answers",
        ("host=http://x",): "is no address",
        (f"rows={rows}", "serving.name=m", "serving.store=/nowhere"): "wants 3 features a row, and these rows have 2",
        ("version=one",): "is no number of a version",
        ("random=true", f"rows={rows}"): "name different rows",
    }
    for words, sentence in cases.items():
        code, said = ask(f"api={api}", *words)
        assert code == 2, words
        assert sentence in said
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no rows"),
        ("a,b\n", "has no rows"),
        ("1,2\n3,4\n", "has no header"),
        ("a,a\n1,2\n", "names a column twice"),
        ("a,b\n1\n", "row 1: has 1 values, and the header 2"),
        ("a,b\n1,2\n1,nan\n", "row 2, column b: 'nan' is no finite number"),
        ("a,b\n1,x\n", "row 1, column b: 'x' is no finite number"),
    ],
)
def test_files_that_hold_no_rows(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(Refused, match=said):
        read(path)
    with pytest.raises(Refused, match="cannot be read"):
        read(tmp_path / "none.csv")


def test_asking_imports_no_tensorflow() -> None:
    code = (
        "import sys; from tapeline.serving.client import Where, Grpc, Rest; from tapeline.errors import Refused\n"
        "for api, kind in (('grpc', Grpc), ('rest', Rest)):\n"
        "    try: kind(Where('127.0.0.1', 1, 'm', api)).version(None)\n"
        "    except Refused: pass\n"
        "    else: sys.exit(1)\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
