"""A study that workers share on a real PostgreSQL: each trial counts once, also where a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Tapeline
from tests.servers.conftest import PASSWORD, Postgres
from tests.tuning.problems import SMALL, make_table

pytestmark = pytest.mark.servers

VARIABLE = "TAPELINE_TEST_PASSWORD"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_table(tmp_path_factory.mktemp("table"))


def words(postgres: Postgres, table: Path, study: Path, *overrides: str) -> list[str]:
    shared = [f"tune.storage={postgres.url}", f"tune.password_env={VARIABLE}", "tune.heartbeat_seconds=0.3"]
    return ["step", "tune", *SMALL, *shared, *overrides, "--in", f"table={table}", "--out", f"study={study}"]


def worker(postgres: Postgres, table: Path, study: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tapeline", *words(postgres, table, study, *overrides)]
    env = {**os.environ, VARIABLE: PASSWORD}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def trials(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["trials"]
    return found


def test_two_workers_of_which_one_is_killed_finish_24_trials_and_none_twice(
    postgres: Postgres, table: Path, tmp_path: Path
) -> None:
    shared = ["tune.study=killed", "tune.trials=24"]
    first, second = (worker(postgres, table, tmp_path / name, *shared) for name in ("first", "second"))
    assert first.stdout
    for line in first.stdout:
        if line.strip().startswith("trial") and " 3 of 24" not in line:
            break
    first.send_signal(signal.SIGKILL)
    rest = second.communicate()[0]
    assert (first.wait(), second.returncode) == (-signal.SIGKILL, 0), rest
    assert not (tmp_path / "first").exists()
    found = trials(tmp_path / "second")
    assert [each["number"] for each in found] == list(range(24))
    assert {each["state"] for each in found} <= {"complete", "pruned"}
    rows = postgres.query("SELECT state, count(*) FROM tapeline_trials WHERE study = 'killed' GROUP BY state")
    assert sum(count for _, count in rows) == 24
    assert "running" not in dict(rows)


def test_a_second_search_takes_what_the_first_one_left(
    postgres: Postgres, table: Path, tmp_path: Path, tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    assert tapeline(*words(postgres, table, tmp_path / "a", "tune.trials=4"))[0] == 0
    code, out, _ = tapeline(*words(postgres, table, tmp_path / "b", "tune.trials=6"))
    record = [line.split()[1] for line in out.splitlines() if line.strip().startswith("trial")]
    assert (code, record) == (0, ["4,", "5,"])
    assert trials(tmp_path / "b")[:4] == trials(tmp_path / "a")


def test_processes_of_one_worker_share_the_study(postgres: Postgres, table: Path, tmp_path: Path) -> None:
    run = worker(postgres, table, tmp_path / "study", "tune.study=parallel", "tune.trials=6", "tune.parallel=2")
    run.communicate()
    assert run.returncode == 0
    assert [each["number"] for each in trials(tmp_path / "study")] == list(range(6))


def test_a_study_of_another_space_is_refused_before_anything_starts(
    postgres: Postgres, table: Path, tmp_path: Path, tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    named = ["tune.study=named", "tune.trials=1"]
    assert tapeline(*words(postgres, table, tmp_path / "a", *named))[0] == 0
    shared = [f"tune.storage={postgres.url}", f"tune.password_env={VARIABLE}", *named]
    code, _, err = tapeline("run", *SMALL, *shared, "tune.space={model.num_leaves:[4,8]}")
    assert code == 2
    assert "tune.study=named: the database has another study of this name" in err
    assert not list((tmp_path / "runs").glob("[0-9]*"))
    assert PASSWORD not in err
    assert tapeline(*words(postgres, table, tmp_path / "b", *named, "tune.seed=1"))[0] == 2


@pytest.mark.parametrize(("wrong", "says"), [("not it", "password authentication failed"), ("", "no such variable")])
def test_a_wrong_or_missing_password_is_refused_and_not_shown(
    postgres: Postgres, tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch, wrong: str, says: str
) -> None:
    monkeypatch.setenv(VARIABLE, wrong)
    code, _, err = tapeline("run", *SMALL, f"tune.storage={postgres.url}", f"tune.password_env={VARIABLE}")
    assert (code, says in err) == (2, True)
    assert not wrong or wrong not in err
