"""The candidate beside the version that is served."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tapeline import files
from tapeline.serving import saved_model as servable
from tapeline.steps import gate
from tapeline.tables import predictions as forecasts
from tapeline.tables.table import open_table
from tests.conftest import Ran, Tapeline, artifact, metrics, steps

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
    record = metrics(folder)
    assert record["gate"]["accepted"] is True
    assert record["champion"] is None
    found: list[str] = record["gate"]["reasons"]
    return found


def test_a_candidate_worse_than_the_served_version_is_rejected_and_the_report_says_so(
    tapeline: Tapeline, folder: Path
) -> None:
    assert tapeline("run", *GOOD, MARGIN)[0] == 0
    assert reasons(folder)[1] == "there is no champion to compare with: nothing is served under this name"
    served = metrics(folder)
    code, out, err = tapeline("run", *POOR, MARGIN)
    assert (code, err) == (0, "")
    record = metrics(folder)
    champion, candidate = served["test"]["overall"]["accuracy"], record["test"]["overall"]["accuracy"]
    assert champion - candidate > 0.05
    assert record["champion"] == {
        "model_version": served["model_version"], "last_label": "2014-08-11", "rows": 288,
        "score": champion, "candidate": candidate,
    }  # fmt: skip
    reason = (
        f"on 288 test rows after 2014-08-11, accuracy is {candidate:.6f}, and {champion:.6f} for the served version "
        f"{served['model_version']}; the lead is {candidate - champion:.6f}, below 0.05"
    )
    reasons_ = [f"accuracy {candidate:.6f} is above 0", reason]
    assert record["gate"] == {"accepted": False, "reasons": reasons_, "metric": "accuracy"}
    assert list(record) == list(served)
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
    record = metrics(folder)
    assert record["gate"]["accepted"] is True
    assert (record["champion"]["score"], record["champion"]["candidate"]) == (candidate, champion)
    assert steps(folder)["publish"] == "ran"


@pytest.mark.usefixtures("without_report")
def test_the_served_version_is_not_compared_with_itself_nor_loaded(folder: Path, ran: Ran) -> None:
    ran(*GOOD)
    script = (
        "import sys; from tapeline.cli.main import main; "
        f"assert main(['run', *{[*GOOD, MARGIN]}]) == 0; print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert reasons(folder)[1] == "there is no champion to compare with: the same model is served already"


@pytest.mark.usefixtures("without_report")
def test_versions_with_other_features_are_not_compared(tapeline: Tapeline, folder: Path, ran: Ran) -> None:
    ran(*GOOD)
    served = metrics(folder)["model_version"]
    assert tapeline("run", *POOR, MARGIN, "dataset.as_of=09:00 America/New_York")[0] == 0
    assert reasons(folder)[1] == f"there is no champion to compare with: the served {served} has other features"


@pytest.mark.usefixtures("without_report")
def test_rows_that_the_served_version_learnt_are_not_compared(tapeline: Tapeline, folder: Path) -> None:
    assert tapeline("run", *GOOD, "split.train=0.98")[0] == 0
    served = metrics(folder)["model_version"]
    last = servable.read_metadata(folder / "store" / "indices-simulated" / "1")["last_label"]
    assert tapeline("run", *POOR, MARGIN)[0] == 0
    assert reasons(folder)[1] == (
        f"there is no champion to compare with: 29 test rows are later than the last that trained the served "
        f"{served}, {last}; 30 are needed"
    )
    assert tapeline("run", *GOOD, "split.train=0.9795")[0] == 0
    assert tapeline("run", *POOR, "gate.champion_margin=-1")[0] == 0
    assert metrics(folder)["champion"]["rows"] == 30


@pytest.mark.usefixtures("without_report")
def test_of_a_walk_forward_only_later_rows_are_compared(tapeline: Tapeline, folder: Path, ran: Ran) -> None:
    ran(*GOOD)
    run = tapeline("run", *GOOD, "split=walk_forward", "split.train=0.7", "split.windows=2", "gate.champion_margin=-1")
    assert run[0] == 0
    record = metrics(folder)
    assert record["data"]["rows"]["test"] == 433
    assert (record["champion"]["last_label"], record["champion"]["rows"]) == ("2014-08-11", 288)
    latest = folder / "runs" / "latest"
    listed = forecasts.read(latest / "predictions.parquet").scored
    right = listed["prediction"][-288:] == listed["target"][-288:]
    assert record["champion"]["candidate"] == right.mean()
    table = open_table(artifact(latest, "table", folder / ".tapeline" / "cache"))
    rows = table.read(("feature", "target"), {"all": slice(table.manifest.rows - 288, None)})
    answer = servable.load(folder / "store" / "indices-simulated" / "1")(rows["feature"])
    assert record["champion"]["score"] == (answer["prediction"] == rows["target"]).mean()


def inputs(folder: Path, **others: Path) -> list[str]:
    """What the gate takes, of the latest run where no other place is given."""
    latest, cache = folder / "runs" / "latest", folder / ".tapeline" / "cache"
    paths = {name: artifact(latest, name, cache) for name in ("table", "fitted", "servable", "profile", "scores")}
    paths |= {"predictions": latest / "predictions.parquet", **others}
    return [word for name, path in paths.items() for word in ("--in", f"{name}={path}")]


@pytest.mark.usefixtures("without_report")
def test_a_metric_that_those_rows_do_not_define(
    tapeline: Tapeline, folder: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(*GOOD)
    assert tapeline("run", *POOR, "publish=false")[0] == 0
    target = forecasts.read(folder / "runs" / "latest" / "predictions.parquet").scored["target"]
    monkeypatch.setattr(gate, "later", lambda *_: target == 1)
    asked = ["step", "gate", *POOR, "gate.metric=auc", MARGIN, *inputs(folder), "--out", "metrics=metrics.json"]
    code, _, err = tapeline(*asked)
    assert (code, err) == (0, "")
    record = files.read_json(folder / "metrics.json")
    assert record["gate"]["accepted"] is True
    assert "auc is not defined on the " in record["gate"]["reasons"][1]


@pytest.mark.usefixtures("without_report")
def test_files_of_other_test_rows_are_refused_and_a_damaged_champion_is_none(
    tapeline: Tapeline, folder: Path, ran: Ran
) -> None:
    ran(*GOOD)
    assert tapeline("run", *POOR, "publish=false", "split.train=0.7")[0] == 0
    latest, cache = folder / "runs" / "latest", folder / ".tapeline" / "cache"
    other = shutil.copytree(artifact(latest, "fitted", cache), folder / "other")
    assert tapeline("run", *POOR, "publish=false")[0] == 0
    asked = ["step", "gate", *POOR, MARGIN, "--out", "metrics=m"]
    code, _, err = tapeline(*asked, *inputs(folder, fitted=other))
    assert (code, len(err.splitlines())) == (2, 1)
    assert "table: has other test rows than the predictions" in err
    version = folder / "store" / "indices-simulated" / "1"
    shutil.copyfile(latest / "scores.json", version / "saved_model.pb")
    assert tapeline(*asked, *inputs(folder))[0] == 0
    record = files.read_json(folder / "m")
    assert record["champion"] is None
    assert any("nothing is served under this name" in reason for reason in record["gate"]["reasons"])
