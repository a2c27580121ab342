"""The published figures of the S&P system, on its own table (kubeflow/examples, Google's notebook of 2016)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.conftest import Tapeline, metrics, steps

pytestmark = pytest.mark.results
FLAT_TRACE = [0.560764, 0.575521, 0.594618, 0.614583, 0.630208, 0.644965]


def csv(path: Path) -> list[str]:
    return ["dataset.source=csv", f"dataset.path={path}"]


def test_flat_is_the_published_one_in_any_row_order_and_rejected(
    tapeline: Tapeline, folder: Path, closing_data: Path
) -> None:
    code, out, err = tapeline("run", "experiment=snp_flat", *csv(closing_data))
    assert (code, err) == (0, "")
    record = metrics(folder)
    assert record["test"]["overall"]["confusion"] == {"tp": 32, "fp": 3, "fn": 112, "tn": 141}
    assert [round(point["score"], 6) for point in record["train"]["trace"]] == FLAT_TRACE
    assert [point["step"] for point in record["train"]["trace"]] == [5000, 10000, 15000, 20000, 25000, 30000]
    assert record["data"]["rows"] == {"train": 1152, "validation": 0, "test": 288}
    reasons = ["accuracy 0.600694 is not above 0.7"]
    assert record["gate"] == {"accepted": False, "reasons": reasons, "metric": "accuracy"}
    assert record["baselines"]["majority"]["accuracy"] == 0.5
    assert round(record["baselines"]["sign of ftse_log_return_0"]["accuracy"], 4) == 0.6979
    assert round(record["baselines"]["sign of dax_log_return_0"]["accuracy"], 4) == 0.6667
    assert round(record["baselines"]["sign of snp_log_return_1"]["accuracy"], 4) == 0.4792
    assert not (folder / "store").exists()
    assert "rejected" in out

    header, *rows = closing_data.read_text().splitlines()
    random.Random(7).shuffle(rows)
    (folder / "shuffled.csv").write_text("\n".join([header, *rows]))
    first = (folder / "runs" / "latest" / "metrics.json").read_bytes()
    assert tapeline("run", "experiment=snp_flat", *csv(folder / "shuffled.csv"))[0] == 0
    assert (folder / "runs" / "latest" / "metrics.json").read_bytes() == first
    assert steps(folder)["train"] == "cached"


def test_deep_is_the_published_one_and_accepted(tapeline: Tapeline, folder: Path, closing_data: Path) -> None:
    code, _, err = tapeline("run", "experiment=snp_deep", *csv(closing_data))
    assert (code, err) == (0, "")
    record = metrics(folder)
    assert round(record["test"]["overall"]["accuracy"], 6) in (0.722222, 0.725694)
    assert (record["test"]["overall"]["confusion"]["tp"], record["test"]["overall"]["confusion"]["fn"]) == (90, 54)
    assert record["gate"]["accepted"] is True
    assert (folder / "store" / "indices" / "1" / "saved_model.pb").is_file()


def test_without_the_days_european_closes_the_signal_goes_and_the_report_says_why(
    tapeline: Tapeline, folder: Path, closing_data: Path
) -> None:
    early = "dataset.as_of=09:00 America/New_York"
    assert tapeline("run", "experiment=snp_deep", early, *csv(closing_data))[0] == 0
    assert metrics(folder)["test"]["overall"]["accuracy"] == pytest.approx(0.576, abs=0.02)
    report = (folder / "runs" / "latest" / "report.html").read_text()
    assert "ftse_log_return_0: closes at 16:30 Europe/London the same day" in report
    assert "dax_log_return_0: closes at 17:30 Europe/Berlin the same day" in report
