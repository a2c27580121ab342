"""Training by two workers: beside one, and when one of them is lost."""

from __future__ import annotations

import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tapeline import files, lookup, workers
from tapeline.datasets import gresearch
from tapeline.datasets.gresearch.columns import NAMES
from tapeline.errors import Lost, Refused
from tapeline.models import fitted as fits
from tapeline.models import lightgbm
from tapeline.pipeline.execution import view
from tapeline.steps import train
from tapeline.tables import writing
from tapeline.tables.table import open_table
from tapeline.tables.windows import count, rows_of
from tapeline.workers import joining, leading
from tests.datasets.gresearch.conftest import section

KEYS = (
    *("experiment=gresearch_sample", "split.train=2d", "split.test=18h", "hw.threads=1"),
    *("model.steps=60", "model.report_every=20", "model.learning_rate=0.05"),
)
TWO = "hw.workers=2"
LONG = ("model.steps=1000000", "model.report_every=50", "model.early_stopping_rounds=1000000")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    keys = section("dataset.rows=60000")
    raw = gresearch.ingest(keys, gresearch.simulate(0, 60_000).lazy(), "simulated")
    manifest, parts = gresearch.table(keys, {name: part.lazy() for name, part in raw})
    writing.write(folder / "table", manifest, ((name, learnable(part)) for name, part in parts))
    return folder / "table"


def learnable(part: Any) -> pl.DataFrame:
    """With targets that say more than their noise, so that scores differ little by chance."""
    first, second = (pl.col(name).rank() / pl.len() for name in (NAMES[0], NAMES[-1]))
    noise = np.random.default_rng(len(part)).standard_normal(len(part)) / 5
    changed: pl.DataFrame = part.with_columns(target=(first - second + pl.Series(noise)).cast(pl.Float64))
    return changed


def trained(table: Path, folder: Path, *more: str) -> bytes:
    train.run(view(lookup.configure([*KEYS, *more]), train.Reads), table=table, fitted=folder)
    return (fits.window(folder, 0) / "model.txt").read_bytes()


def test_two_workers_give_about_the_model_of_one_and_each_has_half_of_the_rows(
    table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tapeline")
    one, two, again = (
        trained(table, tmp_path / name, *more) for name, more in {"1": (), "2": (TWO,), "2b": (TWO,)}.items()
    )
    assert one != two == again
    alone, record = (fits.read(tmp_path / name) for name in "12")
    assert (alone.workers, record.workers) == (1, 2)
    assert alone.rows == record.rows
    held = [int(each.replace(",", "")) for each in re.findall(r"worker \d of 2 trained on ([\d,]+) rows", caplog.text)]
    assert sum(held[:2]) == record.rows[0]["train"]
    assert abs(held[0] - held[1]) <= 1
    data = open_table(table)
    rows = rows_of(record.windows[0], data, "test")
    arrays = data.read(("feature", "target"), rows)
    known = np.isfinite(arrays["target"].reshape(-1))
    answers = [
        lightgbm.predict(lightgbm.load(fits.window(tmp_path / name, 0), lookup.task("returns")), arrays["feature"])
        for name in "12"
    ]
    first, second = (each["prediction"].reshape(-1)[known] for each in answers)
    errors = [np.sqrt(np.mean((each - arrays["target"].reshape(-1)[known]) ** 2)) for each in (first, second)]
    assert errors[1] == pytest.approx(errors[0], rel=0.02)
    assert np.corrcoef(first, second)[0, 1] > 0.8
    assert {path.name for path in tmp_path.glob("2/*")} == {path.name for path in tmp_path.glob("1/*")}


def test_two_workers_stop_early_at_the_same_round(
    table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tapeline")
    trained(
        table, tmp_path / "two", TWO, "model.steps=2000", "model.learning_rate=0.5", "model.early_stopping_rounds=3"
    )
    assert re.search(r"keeps \d+ rounds: the loss on the [\d,]+ validation rows is least there", caplog.text)
    assert fits.read(tmp_path / "two").traces[0][-1].step < 2000


def test_each_window_is_trained_by_both(table: Path, tmp_path: Path) -> None:
    more = ("split.train=8h", "split.test=4h", "split.step=4h", "model.steps=5")
    trained(table, tmp_path / "two", TWO, *more)
    record = fits.read(tmp_path / "two")
    assert len(record.windows) > 1
    assert len(list(tmp_path.glob("two/window_*/model.txt"))) == len(record.windows)


@contextmanager
def at_work(*arguments: str, code: str = "", **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, until it has done some steps or is ended with the block."""
    text = f"{code}\nimport sys\nfrom tapeline.cli import main\nif __name__ == '__main__': sys.exit(main.main())"
    command = [sys.executable, "-u", "-c", text, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": {**os.environ, **variables}}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def line(table: Path, folder: Path, *more: str) -> list[str]:
    return ["step", "train", *KEYS, TWO, *more, "--in", f"table={table}", "--out", f"fitted={folder}"]


def children(process: subprocess.Popen[str]) -> list[int]:
    """The workers, by rank."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return sorted(int(each) for each in found if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes())


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_lost_worker_ends_the_step_and_nothing_is_left(table: Path, tmp_path: Path, rank: int) -> None:
    with at_work(*line(table, tmp_path / "fitted", *LONG)) as process:
        assert process.stdout
        assert any("step 50 of" in each for each in process.stdout)
        pids = children(process)
        os.kill(pids[rank], signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == Lost.code > 127, "Argo tries again what ends so"
    assert said.startswith(f"tapeline: hw.workers=2: worker {rank} on 127.0.0.1 was lost")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert not [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists()]


def test_workers_end_with_the_process_that_leads(table: Path, tmp_path: Path) -> None:
    with at_work(*line(table, tmp_path / "fitted", *LONG)) as process:
        assert process.stdout
        assert any("step 50 of" in each for each in process.stdout)
        ends = [os.pidfd_open(pid) for pid in children(process)]
    for end in ends:
        assert select.select([end], [], [], 600)[0]  # it can be read when the process has ended
        os.close(end)


HERE = f"""
from tapeline.workers import joining
joining.pod.__defaults__ = (("127.0.0.1", {workers.PORT}),)
"""
"""Both are on this machine."""


def test_pods_of_one_run_find_each_other_and_give_the_bytes_of_two_processes(table: Path, tmp_path: Path) -> None:
    joins = line(table, tmp_path / "none")[:-2]
    with at_work(*joins, code=HERE, TAPELINE_JOB="run-1", TAPELINE_ROLE="worker") as worker:
        with at_work(*line(table, tmp_path / "pods"), TAPELINE_JOB="run-1") as process:
            _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        _, said = worker.communicate(timeout=60)
    assert worker.returncode == 0, said
    assert {path.name for path in tmp_path.iterdir()} == {"pods"}
    model = (fits.window(tmp_path / "pods", 0) / "model.txt").read_bytes()
    assert model == trained(table, tmp_path / "processes", TWO)
    assert files.read_json(tmp_path / "pods" / "fitted.json") == files.read_json(tmp_path / "processes" / "fitted.json")


def test_a_run_of_another_token_is_no_worker_of_this_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        for hello in (b'{"job": "other"}\n', b"GET / HTTP/1.1\n", b'{"job": 3}\n', b"[1]\n", b"\n"):
            with socket.create_connection(server.getsockname()) as client:
                client.sendall(hello)
                connection, _ = server.accept()
                assert leading._hello(connection).get("job") in (None, "other")
                connection.close()


def test_who_waits_for_others_says_so_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (leading, joining):
        monkeypatch.setattr(module, "PATIENCE", 0.5)
    with pytest.raises(Refused, match=r"localhost:1: no pod .* answered in .*; look at .*NetworkPolicy"):
        joining.pod("run-1", lambda link: None, ("localhost", 1))
    with (
        pytest.raises(Lost, match=r"hw\.workers=2: \d workers did not come in .*; find out why"),
        leading.group("hw.workers=2", 2, "run-1", waits),
    ):
        raise AssertionError("nobody came")


def waits(link: joining.Link) -> None:
    link.heard.get()


def meets(link: joining.Link) -> None:
    for number in range(MODELS):
        addresses = link.meet()
        link.trained(number=number, addresses=addresses)


MODELS = 200


def test_a_worker_that_is_ahead_of_the_other_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leading, "PATIENCE", 30.0)
    for number, found in enumerate(led(meets, MODELS)):
        assert [each["number"] for each in found] == [number] * 2
        assert found[0]["addresses"] == found[1]["addresses"]
        assert len(set(found[0]["addresses"])) == 2


def led(work: Callable[[joining.Link], None], models: int) -> list[list[workers.Message]]:
    found = []
    with leading.group("hw.workers=2", 2, None, work) as group:
        for _ in range(models):
            group.meet(unexpected)
            found.append(group.results(unexpected))
    return found


def unexpected(message: workers.Message) -> None:
    raise AssertionError(message)


def stops(link: joining.Link) -> None:
    link.meet()
    if link.rank:
        os.kill(os.getpid(), signal.SIGSTOP)
    link.trained()


def test_a_worker_that_hangs_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leading, "LATE", 0.5)
    with pytest.raises(Lost, match=r"hw\.workers=2: worker 1 on 127.0.0.1 did not answer for .* s; check whether"):
        led(stops, 1)


def test_workers_of_another_run_are_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("", 0)) as free:
        place = free.getsockname()
    monkeypatch.setattr(leading, "PORT", place[1])
    with (
        leading.group("hw.workers=1", 1, "run-1", waits),
        pytest.raises(ConnectionRefusedError),
        socket.create_connection(place),
    ):
        pass


def test_a_family_that_cannot_is_refused_by_the_step_too(table: Path, tmp_path: Path) -> None:
    reads = view(lookup.configure(["dataset=gresearch", "model=flat", *KEYS[1:3], TWO]), train.Reads)
    with pytest.raises(Refused, match=r"hw\.workers=2: model=flat .*; set hw\.workers=1"):
        train.run(reads, table=table, fitted=tmp_path / "fitted")


def test_count_knows_a_step() -> None:
    assert [count(slice(first, 10, 3)) for first in range(8, 11)] == [1, 1, 0]
