"""The candidate beside the version that is served."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline import files
from tapeline.serving import saved_model as servable
from tapeline.steps import gate
from tapeline.tables.table import read
from tests.conftest import Tapeline, metrics, steps

GOOD = [
    "model=flat",
    "model.steps=200",
    "model.learning_rate=0.01",
    "model.report_every=100",
    "gate.threshold=0",
    "gate.baseline_margin=null",
]
POOR = ["model=flat", "model.steps=1", "model.report_every=1", "gate.threshold=0", "gate.baseline_margin=null"]
MARGIN = "gate.champion_margin=0.05"


def reasons(folder: Path) -> list[str]:
    told = metrics(folder)
    assert told["gate"]["accepted"] is True
    assert "champion" not in told
    found: list[str] = told["gate"]["reasons"]
    return found


def test_a_candidate_worse_than_the_served_version_is_rejected_and_the_report_says_so(
    tapeline: Tapeline, folder: Path
) -> None:
    assert tapeline("run", *GOOD, MARGIN)[0] == 0
    assert reasons(folder)[1] == "there is no champion to compare with: nothing is served under this name"
    served = metrics(folder)
    code, out, err = tapeline("run", *POOR, MARGIN)
    assert (code, err) == (0, "")
    told = metrics(folder)
    champion, candidate = served["test"]["accuracy"], told["test"]["accuracy"]
    assert champion - candidate > 0.05
    assert told["champion"] == {
        "model_version": served["model_version"], "last_label": "2014-08-11", "rows": 288,
        "score": champion, "candidate": candidate,
    }  # fmt: skip
    reason = (
        f"on 288 test rows after 2014-08-11 its accuracy is {candidate:.6f}, that of the served "
        f"{served['model_version']} {champion:.6f}: a lead of {candidate - champion:.6f}, too little for 0.05"
    )
    assert told["gate"] == {"accepted": False, "reasons": [f"accuracy {candidate:.6f} is above 0", reason]}
    assert list(told) == [*list(served)[:-1], "champion", "model_version"]
    assert steps(folder)["publish"] == "skipped"
    assert reason in out
    report = (folder / "runs" / "latest" / "report.html").read_text()
    assert reason in report
    assert f"<code>{served['model_version']}</code></th>" in report
    assert f'"/metrics/champion/score" value="{champion!r}">{champion:.6f}</data>' in report
    text = (folder / "runs" / "latest" / "metrics.json").read_text()
    assert str(folder) not in text
    assert [path.name for path in (folder / "store" / "indices-simulated").glob("[0-9]*")] == ["1"]

    assert tapeline("run", *POOR, "gate.champion_margin=-0.9")[0] == 0
    assert metrics(folder)["gate"]["accepted"] is True
    assert tapeline("run", *GOOD, MARGIN)[0] == 0
    told = metrics(folder)
    assert told["gate"]["accepted"] is True
    assert (told["champion"]["score"], told["champion"]["candidate"]) == (candidate, champion)
    assert steps(folder)["publish"] == "ran"


def test_the_served_version_is_not_compared_with_itself_nor_loaded(tapeline: Tapeline, folder: Path) -> None:
    assert tapeline("run", *GOOD)[0] == 0
    script = (
        "import sys; from tapeline.cli.main import main; "
        f"assert main(['run', *{[*GOOD, MARGIN]}]) == 0; print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert reasons(folder)[1] == "there is no champion to compare with: this very model is served"


def test_versions_with_other_features_are_not_compared(tapeline: Tapeline, folder: Path) -> None:
    assert tapeline("run", *GOOD)[0] == 0
    served = metrics(folder)["model_version"]
    assert tapeline("run", *POOR, MARGIN, "dataset.as_of=09:00 America/New_York")[0] == 0
    assert reasons(folder)[1] == f"there is no champion to compare with: the served {served} has other features"


def test_rows_that_the_served_version_learnt_are_not_compared(tapeline: Tapeline, folder: Path) -> None:
    assert tapeline("run", *GOOD, "split.train=0.98")[0] == 0
    served = metrics(folder)["model_version"]
    last = servable.about(folder / "store" / "indices-simulated" / "1")["last_label"]
    assert tapeline("run", *POOR, MARGIN)[0] == 0
    assert reasons(folder)[1] == (
        f"there is no champion to compare with: 29 test rows are later than what the served {served} learnt last, "
        f"{last}, and 30 are needed"
    )
    assert tapeline("run", *GOOD, "split.train=0.9795")[0] == 0
    assert tapeline("run", *POOR, "gate.champion_margin=-1")[0] == 0
    assert metrics(folder)["champion"]["rows"] == 30


def test_of_a_walk_forward_only_later_rows_are_compared(tapeline: Tapeline, folder: Path) -> None:
    assert tapeline("run", *GOOD)[0] == 0
    run = tapeline("run", *GOOD, "split=walk_forward", "split.train=0.7", "split.windows=2", "gate.champion_margin=-1")
    assert run[0] == 0
    told = metrics(folder)
    assert told["data"]["rows"]["test"] == 433
    assert (told["champion"]["last_label"], told["champion"]["rows"]) == ("2014-08-11", 288)
    latest = folder / "runs" / "latest"
    listed = json.loads((latest / "scores.json").read_text())["predictions"]
    right = np.array(listed["prediction"])[-288:] == np.array(listed["target"])[-288:]
    assert told["champion"]["candidate"] == right.mean()
    table = read(latest / "table.parquet")
    answer = servable.load(folder / "store" / "indices-simulated" / "1")(table.features[-288:])
    assert told["champion"]["score"] == (answer["prediction"] == table.target[-288:]).mean()


def test_a_metric_that_those_rows_do_not_define(
    tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tapeline("run", *GOOD)[0] == 0
    assert tapeline("run", *POOR, "publish=false")[0] == 0
    made = {name: str(folder / "runs" / "latest" / name) for name in ("table.parquet", "servable", "scores.json")}

    def one_class(time: Any, *_: object) -> Any:
        table = read(Path(made["table.parquet"]))
        return table.target[np.isin(table.time, time)] == 1

    monkeypatch.setattr(gate, "later", one_class)
    paths = [word for name, path in made.items() for word in ("--in", f"{name.partition('.')[0]}={path}")]
    code, _, err = tapeline("step", "gate", *POOR, "gate.metric=auc", MARGIN, *paths, "--out", "metrics=metrics.json")
    assert (code, err) == (0, "")
    told = files.read_json(folder / "metrics.json")
    assert told["gate"]["accepted"] is True
    assert "auc is not defined on the " in told["gate"]["reasons"][1]


def test_another_split_than_the_scores_have_and_a_damaged_champion_are_refused(
    tapeline: Tapeline, folder: Path
) -> None:
    assert tapeline("run", *GOOD)[0] == 0
    assert tapeline("run", *POOR, "publish=false")[0] == 0
    latest = folder / "runs" / "latest"
    paths = [f"table={latest}/table.parquet", f"servable={latest}/servable", f"scores={latest}/scores.json"]
    asked = ["step", "gate", *POOR, MARGIN, *(word for path in paths for word in ("--in", path)), "--out", "metrics=m"]
    code, _, err = tapeline(*asked, "split.train=0.7")
    assert (code, err) == (
        2,
        "tapeline: split: has other test rows than scores.json; give the keys that evaluate had\n",
    )
    version = folder / "store" / "indices-simulated" / "1"
    shutil.copyfile(latest / "scores.json", version / "saved_model.pb")
    code, _, err = tapeline(*asked)
    assert code == 2
    assert f"{version}: is not a servable that can be loaded" in err.replace("store/", f"{folder}/store/")
