"""What is wrong with a search is said before anything starts: key, fix, exit code 2, and no output."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import Tapeline

LIGHTGBM = ("model=lightgbm", "tune=optuna")
RATE = "model.learning_rate"
NUMBERS = f"tune.space={{{RATE}:{{low:0.01,high:0.1}},model.lambda_l2:{{low:0,high:1}}}}"
STORED = "tune.storage=sqlite:///study.db"

ROWS: list[tuple[list[str], str, str]] = [
    # overrides, what the message names, what it says to do
    (["tune=optun"], "tune=optun", "did you mean optuna?"),
    (["tune.trials=3"], "tune.trials", "set tune=optuna too"),
    ([*LIGHTGBM, "tune.trails=3"], "tune.trails: unknown key", "did you mean trials?"),
    ([*LIGHTGBM, "tune.trials=0"], "tune.trials=0", "set another value"),
    ([*LIGHTGBM, "tune.trials=2.5"], "tune.trials=2.5", "set another value"),
    ([*LIGHTGBM, "tune.parallel=0"], "tune.parallel=0", "set another value"),
    ([*LIGHTGBM, "tune.workers=0"], "tune.workers=0", "set another value"),
    ([*LIGHTGBM, "tune.workers=2"], "tune.workers=2", "set tune.storage too"),
    ([*LIGHTGBM, "tune.sampler=bayes"], "tune.sampler='bayes'", "set another value"),
    ([*LIGHTGBM, "tune.pruner=halving"], "tune.pruner='halving'", "set another value"),
    ([*LIGHTGBM, "tune.timeout_seconds=0"], "tune.timeout_seconds=0", "set another value"),
    ([*LIGHTGBM, "tune.metric=acuracy"], "tune.metric=acuracy", "did you mean accuracy?"),
    ([*LIGHTGBM, f"tune.space={{{RATE}s:{{low:1,high:2}}}}"], f"{RATE}s", f"did you mean {RATE}?"),
    ([*LIGHTGBM, "tune.space={model.hidden:[[1],[2]]}"], "model=lightgbm has no such key", "choose another model"),
    ([*LIGHTGBM, "tune.space={split.train:{low:0.5,high:0.9}}"], "split.train: is not a key of model", "remove it"),
    ([*LIGHTGBM, "tune.space={learning_rate:{low:0.5,high:0.9}}"], "rate: is not a key", f"did you mean {RATE}?"),
    ([*LIGHTGBM, "tune.space={seed:{low:0,high:9}}"], "tune.space.seed: is not a key of model", "remove it"),
    ([*LIGHTGBM, "tune.space={model.family:[flat,deep]}"], "model.family: cannot be searched", "remove it"),
    ([*LIGHTGBM, "tune.space={model.report_every:{low:1,high:9}}"], "model.report_every: cannot", "remove it"),
    ([*LIGHTGBM, "tune.space={}"], "tune.space: has no keys", "set it, as in"),
    ([*LIGHTGBM, f"tune.space={{{RATE}:{{low:0.1,high:0.01}}}}"], "low 0.1 must be below high 0.01", "swap them"),
    ([*LIGHTGBM, f"tune.space={{{RATE}:{{low:0.1,high:0.1}}}}"], "must be below high", "swap them"),
    ([*LIGHTGBM, "tune.space={model.lambda_l2:{low:0,high:1,log:true}}"], "low 0 has no logarithm", "log: false"),
    ([*LIGHTGBM, "tune.space={model.lambda_l2:{low:0,high:1,log:reverse}}"], "low 0 has no logarithm", "log: false"),
    ([*LIGHTGBM, f"tune.space={{{RATE}:{{low:0.1}}}}"], "must have low and high", "{low: 0.001, high: 0.1}"),
    (
        [*LIGHTGBM, f"tune.space={{{RATE}:{{low:0.1,high:x}}}}"],
        f"{RATE}.high='x': must be a number",
        "set another value",
    ),
    ([*LIGHTGBM, f"tune.space={{{RATE}:{{low:0.1,high:1,log:maybe}}}}"], f"{RATE}.log='maybe'", "set another value"),
    ([*LIGHTGBM, f"tune.space={{{RATE}:{{low:0.1,high:.inf}}}}"], f"tune.space.{RATE}", "set another value"),
    ([*LIGHTGBM, f"tune.space={{{RATE}:{{low:0.1,high:1,lgo:true}}}}"], f"{RATE}.lgo: unknown key", "remove it"),
    ([*LIGHTGBM, f"tune.space={{{RATE}:{{low:-1,high:1}}}}"], f"{RATE}: -1: must be greater than 0", "another value"),
    ([*LIGHTGBM, "tune.space={model.num_leaves:{low:2.5,high:9}}"], "model.num_leaves: 2.5", "set another value"),
    ([*LIGHTGBM, "tune.space={model.num_leaves:[4]}"], "two or more choices", "as in [16, 32]"),
    ([*LIGHTGBM, "tune.space={model.num_leaves:[4,4]}"], "two or more choices that differ", "as in [16, 32]"),
    ([*LIGHTGBM, "tune.space={model.boosting:[gbdt,gdbt]}"], 'model.boosting: "gdbt"', "set another value"),
    ([*LIGHTGBM, "tune.space={model.boosting:[gbdt,dart]}"], "cannot stop early", "remove this value"),
    ([*LIGHTGBM, f"tune.space={{{RATE}:{{low:0.1,high:1,choices:[1,2]}}}}"], "choices and a range", "keep one"),
    ([*LIGHTGBM, NUMBERS, "tune.sampler=grid", "tune.trials=9"], f"{RATE}: a grid needs", "add points"),
    ([*LIGHTGBM, "tune.sampler=grid", "tune.space={model.num_leaves:[4,8]}"], "tune.trials=20", "set tune.trials=2"),
    ([*LIGHTGBM, "tune.sampler=grid", "tune.space={model.num_leaves:{low:2,high:30000}}"], "29,999", "give points"),
    ([*LIGHTGBM, "tune.sampler=cmaes", "tune.space={model.num_leaves:[4,8]}"], "a list of choices", "tune.sampler=tpe"),
    ([*LIGHTGBM, "tune.sampler=cmaes", f"tune.space={{{RATE}:{{low:0.1,high:1}}}}"], "two or more keys", "=tpe"),
    ([*LIGHTGBM, "tune.rows=100"], "tune.rows=100", "tune.block=1w"),
    ([*LIGHTGBM, "tune.block=1w"], "tune.block=1w: is not read", "set tune.rows too"),
    ([*LIGHTGBM, "tune.rows=100", "tune.block=7"], "tune.block=7", "tune.block=1w"),
    ([*LIGHTGBM, "tune.rows=100", "tune.block=0d"], "tune.block=0d", "tune.block=1w"),
    ([*LIGHTGBM, "tune.rows=2", "tune.block=52w"], "the smallest block has", "shorter blocks"),
    ([*LIGHTGBM, "split.validation=0"], "split.validation=0", "set split.validation=null"),
    ([*LIGHTGBM, "tune.study=mine"], "tune.study=mine: is not read", "set tune.storage too"),
    ([*LIGHTGBM, "tune.password_env=X"], "tune.password_env=X: is not read", "set tune.storage too"),
    ([*LIGHTGBM, "tune.storage=postgresql://me:word@db/x"], "tune.storage: holds a password", "tune.password_env"),
    ([*LIGHTGBM, "tune.storage=nonsense"], "tune.storage: is not a URL", "postgresql://user@host/database"),
    ([*LIGHTGBM, "tune.storage=mysql://me@db/x"], "tune.storage=mysql", "choose one of: postgresql, sqlite"),
    ([*LIGHTGBM, "tune.storage=sqlite:////no/such/folder/x.db"], "tune.storage: the database cannot be used", "check"),
    (
        [*LIGHTGBM, "tune.storage=postgresql://me@127.0.0.1:1/x"],
        *(
            ("tune.storage: the database cannot be used", "check")
            if find_spec("psycopg")
            else ("its driver is not installed", "install tapeline[postgres]")
        ),
    ),
    ([*LIGHTGBM, STORED, "tune.password_env=TAPELINE_NONE"], "tune.password_env=TAPELINE_NONE", "set the variable"),
    ([*LIGHTGBM, STORED, "tune.password_file=none"], "tune.password_file=none", "set it to a readable file"),
    (
        ["model=deep", "tune=published"],
        "tune.space: model.hidden=[50, 25] the widths",
        "choose tune=optuna",
    ),
    (["model=flat", "tune=published"], "model.first: model=flat has no such key", "choose another model"),
    (["model=deep", "tune=optuna", "hw=gpu", "tune.parallel=2"], "tune.parallel=2", "set tune.parallel=1"),
]


@pytest.mark.parametrize(
    ("overrides", "names", "fix"), ROWS, ids=lambda each: " ".join(each) if isinstance(each, list) else ""
)
def test_a_mistake_is_refused_before_anything_starts(
    tapeline: Tapeline, folder: Path, overrides: list[str], names: str, fix: str
) -> None:
    code, _, err = tapeline("run", *overrides)
    assert code == 2
    assert [line for line in err.splitlines() if names in line and fix in line], err
    assert all(line.startswith("tapeline: ") for line in err.splitlines())
    assert not list((folder / "runs").glob("[0-9]*"))
    assert not (folder / "store").exists()


def test_all_mistakes_are_said_at_once(tapeline: Tapeline) -> None:
    code, _, err = tapeline("run", *LIGHTGBM, "tune.metric=x", "tune.block=1w", "tune.space={model.x:[1,2]}")
    assert (code, len(err.splitlines())) == (2, 3)
