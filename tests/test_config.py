from __future__ import annotations

from pathlib import Path

import pytest

from tapeline import checks, lookup
from tapeline.clusters.plan import plan
from tapeline.config import compose as conf
from tapeline.errors import Refused
from tapeline.pipeline.graph import view
from tests.conftest import ROOT, Tapeline, metrics

OPTIONS = [
    f"{group.name}={option.stem}"
    for group in sorted((ROOT / "conf").iterdir())
    if group.is_dir()
    for option in sorted(group.glob("*.yaml"))
]
SMALL = ["model.steps=20", "model.report_every=10", "gate.threshold=0", "gate.baseline_margin=null"]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_validates_and_runs(option: str, tapeline: Tapeline, folder: Path) -> None:
    composed = lookup.configure([option])
    checks.before_build(composed)
    if option.startswith("target=") and composed.target.name != "local":
        assert plan(composed, [option]).tasks
        return
    code, _, err = tapeline("run", option, *SMALL)
    assert (code, err) == (0, "")
    assert 0 <= metrics(folder)["test"]["accuracy"] <= 1


@pytest.mark.parametrize("path", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_is_short_and_opens_with_a_comment(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 35
    assert lines[0].startswith("#")


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_experiment_is_named_as_its_file_gives_its_command_and_sets_no_source(path: Path) -> None:
    composed = lookup.configure([f"experiment={path.stem}"])
    assert composed.experiment == path.stem
    assert f"# make run experiment={path.stem}" in path.read_text()
    assert composed.dataset.source == "simulated"


def test_the_published_protocol() -> None:
    for name, hidden in (("snp_flat", None), ("snp_deep", [50, 25])):
        told = conf.plain(lookup.configure([f"experiment={name}"]))
        assert told["model"].get("hidden") == hidden
        assert told["model"] | {"hidden": 0, "family": 0} == {
            "family": 0, "hidden": 0, "steps": 30000, "report_every": 5000, "learning_rate": 1e-4,
            "initial_sd": 1e-4, "initial_bias": 1.0,
        }  # fmt: skip
        gate = {"metric": "accuracy", "threshold": 0.7, "baseline_margin": None, "champion_margin": None}
        assert told["gate"] == gate
        assert told["split"] == {"name": "chronological", "train": 0.8}


def test_defaults_of_the_serving_name() -> None:
    assert lookup.configure([]).serving.name == "indices-simulated"
    assert lookup.configure(["dataset.source=csv", "dataset.path=a.csv"]).serving.name == "indices"
    assert lookup.configure(["serving.name=mine"]).serving.name == "mine"


def test_a_view_holds_what_is_read_and_nothing_else() -> None:
    seen = view(lookup.configure([]), ("model", "seed", "hw.name", "serving.name"))
    assert (seen.model.family, seen.seed, seen.hw.name, seen.serving.name) == ("deep", 0, "cpu", "indices-simulated")
    for path in ("dataset", "gate"):
        with pytest.raises(AttributeError):
            getattr(seen, path)
    with pytest.raises(AttributeError):
        _ = seen.hw.threads


def test_places_are_in_no_portable_configuration() -> None:
    told = conf.flat(conf.plain(lookup.configure([]), places=False))
    assert not [
        key for key in told if key.split(".")[0] == "target" or (key.startswith("serving.") and key != "serving.name")
    ]
    assert "serving.name" in told


def test_another_folder_of_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPELINE_CONF", str(tmp_path))
    with pytest.raises(Refused, match=r"config\.yaml: no such file; set TAPELINE_CONF"):
        lookup.configure([])
