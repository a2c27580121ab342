"""Steps that are mapped over partitions, and artifacts that may be missing, on graphs of toys."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline import files, lookup
from tapeline.config.schema import Config
from tapeline.errors import Refused
from tapeline.pipeline import run_locally as local
from tapeline.pipeline.execution import view
from tapeline.pipeline.graph import Artifact, Step, pipeline
from tapeline.pipeline.partitions import run_parts
from tapeline.tables.spec import wrong_ids

PARTS, TABLE = Artifact("parts", "parts"), Artifact("table", "table")
TOY = "tests.pipeline.toy"
MAPPED = Step("split_up", takes=(), makes=(PARTS,), map_over="partitions", shaped_by=("experiment",), package=TOY)
GRAPH = (MAPPED, Step("collect", takes=("parts",), makes=(TABLE,), package=TOY))
EXAMPLES = Artifact("examples", "examples.txt", optional=True)
OPTIONAL = (
    Step("choose", takes=(), makes=(Artifact("scores", "scores.txt"), EXAMPLES), package=TOY),
    Step("show", takes=("scores", "examples?"), makes=(Artifact("page", "page.txt"),), package=TOY),
)


def _config(**changed: Any) -> Config:
    return replace(lookup.configure([]), **changed)


def _run(steps: tuple[Step, ...], config: Config) -> local.Progress:
    folder = local.new_folder(config, datetime.now(UTC))
    begin = getattr(local, "begin", None)
    if begin:
        begin(folder, config, datetime.now(UTC))
    progress = local.Progress(folder)
    for step in pipeline(config, steps):
        local.take(step, config, progress)
    return progress


def test_a_mapped_step_runs_once_for_each_partition_and_a_small_step_writes_the_manifest(folder: Path) -> None:
    progress = _run(GRAPH, _config(experiment="EURO+BTC_USD+a-1", seed=3))
    table = progress.artifacts["table"]
    manifest = files.read_json(table / "manifest.json")
    assert [each["id"] for each in manifest["parts"]] == ["BTC_USD", "EURO", "a-1"]
    for each in manifest["parts"]:
        frame = pl.read_parquet(table / f"{each['id']}.parquet")
        assert (len(frame), frame["value"].unique().to_list()) == (each["rows"], [3])
        assert each["digest"] == files.digest(frame.to_dicts())
    assert [each["how"] for each in progress.steps] == ["ran", "ran"]
    assert [each["how"] for each in _run(GRAPH, _config(experiment="EURO+BTC_USD+a-1", seed=3)).steps] == ["cached"] * 2


def test_the_parts_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    seen = view(_config(experiment="A+BB+CCC+DDDD", seed=1), MAPPED.view)
    made = []
    for processes in (1, 3):
        folder = tmp_path / str(processes)
        run_parts(MAPPED, seen, {}, folder, processes)
        facts = [files.read_json(path) for path in sorted(folder.glob("*.json"))]
        assert len({each.pop("process") for each in facts}) <= processes
        made.append((facts, [path.read_bytes() for path in sorted(folder.glob("*.parquet"))]))
    assert made[0] == made[1]


def test_what_is_wrong_with_parts_is_said_of_all_at_once_and_nothing_is_left(folder: Path) -> None:
    with pytest.raises(Refused) as error:
        _run(GRAPH, _config(experiment="good+bad1+bad2"))
    assert [finding.where for finding in error.value.findings] == ["partition bad1", "partition bad2"]
    assert not list(folder.rglob("*.parquet"))


@pytest.mark.parametrize(("ids", "wrong"), [("A+a", "'a'"), ("A+../x", "'../x'"), ("A+", "''")])
def test_ids_that_cannot_name_files_are_refused_before_anything_runs(tmp_path: Path, ids: str, wrong: str) -> None:
    with pytest.raises(Refused, match="partition") as error:
        run_parts(MAPPED, view(_config(experiment=ids), MAPPED.view), {}, tmp_path / "parts")
    assert not list(tmp_path.iterdir())
    assert [finding.where for finding in error.value.findings] == [f"partition {wrong}"]


@given(st.lists(st.text(max_size=45), max_size=6))
def test_ids_without_findings_name_files_that_no_system_confuses(ids: list[str]) -> None:
    if not list(wrong_ids(ids)):
        assert len({name.lower() for name in ids}) == len(ids)
        assert all(name.isascii() and 0 < len(name) <= 40 and Path(name).name == name for name in ids)


@pytest.mark.parametrize(("seed", "page"), [(0, "0: no examples"), (2, "2: row 7")])
def test_an_artifact_that_a_step_need_not_make_may_be_missing(folder: Path, seed: int, page: str) -> None:
    config = _config(seed=seed)
    for how in ("ran", "cached"):
        progress = _run(OPTIONAL, config)
        assert progress.artifacts["page"].read_text() == page
        assert ("examples" in progress.artifacts) == (seed > 0)
        assert {each["how"] for each in progress.steps} == {how}


def test_what_no_step_makes_is_taken_by_none() -> None:
    without = (replace(OPTIONAL[0], makes=OPTIONAL[0].makes[:1]), OPTIONAL[1])
    assert pipeline(_config(), without)[1].takes == ("scores",)
