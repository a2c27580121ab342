from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tapeline import checks, lookup
from tapeline.clusters.plan import plan
from tapeline.config import compose as conf
from tapeline.config.overrides import parse
from tapeline.config.schema import Cluster
from tapeline.errors import Finding, Refused
from tapeline.tasks import value
from tests.conftest import ROOT, Tapeline, metrics

OPTIONS = [
    f"{group.name}={option.stem}"
    for group in sorted((ROOT / "conf").iterdir())
    if group.is_dir()
    for option in sorted(group.glob("*.yaml"))
]
RUN = [option for option in OPTIONS if option.split("=")[0] in ("model", "split", "gate", "serving")] + ["hw=gpu"]
"""Options that change what a run on this machine does; test_matrix.py runs each dataset."""
RULES = ("threshold", "baseline_margin", "confidence")
SMALL = ["model.steps=20", "model.report_every=10", *(f"gate.{rule}=null" for rule in RULES)]


def refusal(*overrides: str) -> tuple[Finding, ...]:
    """Why this cannot be run or built; empty where it can."""
    try:
        checks.before_build(lookup.configure(overrides))
    except Refused as error:
        return tuple(error.findings)
    return ()


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_works_with_the_default_dataset_or_another_one(option: str) -> None:
    composed = lookup.configure([option])
    if findings := refusal(option):
        group = option.partition("=")[0]
        assert {finding.where.partition("=")[0].partition(".")[0] for finding in findings} == {group}
        others = [f"{kind}={other}" for kind in ("dataset", "experiment") for other in conf.options(kind)]
        assert any(not refusal(other, option) for other in others)
    elif isinstance(composed.target, Cluster):
        assert plan(composed, [option]).tasks


@pytest.mark.long
@pytest.mark.parametrize("option", RUN)
def test_a_run_works_with_each_option(option: str, tapeline: Tapeline, folder: Path, without_report: None) -> None:
    if refusal(option):
        pytest.skip("it is for another dataset")
    few = ["split.train=200w", "split.test=40w"] if option.startswith("split=rolling") else []
    code, _, err = tapeline("run", option, *few, *SMALL)
    assert (code, err) == (0, "")
    written = metrics(folder)
    assert value(written["test"]["overall"], written["gate"]["metric"]) is not None
    assert written["gate"]["accepted"] is True


@pytest.mark.parametrize("path", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_is_short_and_opens_with_a_comment(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 45
    assert lines[0].startswith("#")


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_experiment_is_named_as_its_file_gives_its_command_and_sets_no_source(path: Path) -> None:
    composed = lookup.configure([f"experiment={path.stem}"])
    assert composed.experiment == path.stem
    assert f"# make run experiment={path.stem}" in path.read_text()
    assert composed.dataset.source == "simulated"


def test_the_published_protocol() -> None:
    for name, hidden in (("snp_flat", None), ("snp_deep", [50, 25])):
        record = conf.plain(lookup.configure([f"experiment={name}"]))
        assert record["model"].get("hidden") == hidden
        unset = ("first", "decay", "depth", "batch_rows", "patience")
        model = {key: each for key, each in record["model"].items() if key not in unset}
        assert [record["model"].get(key) for key in unset] == [None] * 5
        assert model | {"hidden": 0, "family": 0} == {
            "family": 0, "hidden": 0, "steps": 30000, "report_every": 5000, "learning_rate": 1e-4,
            "initial_sd": 1e-4, "initial_bias": 1.0,
        }  # fmt: skip
        gate = {
            "metric": "accuracy",
            "threshold": 0.7,
            "baseline_margin": None,
            "confidence": None,
            "champion_margin": None,
        }
        assert record["gate"] == gate
        assert record["split"] == {"name": "chronological", "train": 0.8, "validation": None, "purge": None}


def test_defaults_of_the_serving_name() -> None:
    assert lookup.configure([]).serving.name == "indices-simulated"
    assert lookup.configure(["dataset.source=csv", "dataset.path=a.csv"]).serving.name == "indices"
    assert lookup.configure(["serving.name=mine"]).serving.name == "mine"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.steps=5", ("set", "model.steps", 5, "model", "model.steps=5")),
        ("+split.windows=3", ("add", "split.windows", 3, "split", "split.windows=3")),
        ("++a.b=[1, x]", ("force", "a.b", [1, "x"], "a", "a.b=[1, x]")),
        ("~model.hidden", ("delete", "model.hidden", None, "model", "model.hidden")),
        ("model@other=flat", ("set", "model", "flat", "model", "model@other=flat")),
        ("hydra/launcher=joblib", ("set", "hydra/launcher", "joblib", "hydra", "hydra/launcher=joblib")),
        ("a='x=y'", ("set", "a", "x=y", "a", "a='x=y'")),
        ("a=${oc.env:X}", ("set", "a", "${oc.env:X}", "a", "a=${oc.env:X}")),
        ("a=''", ("set", "a", "", "a", "a=''")),
        ("model=flat,deep", ("set", "model", ["flat", "deep"], "model", "model=flat,deep")),
    ],
)
def test_an_override_is_parsed_once(text: str, expected: tuple[object, ...]) -> None:
    (found,) = parse([text])
    assert (found.op, found.key, found.value, found.section, found.assignment) == expected
    assert found.sweep == (text.count(",") == 1 and "[" not in text)


def test_an_override_without_a_value_means_as_configured() -> None:
    assert parse(["model.steps=", "seed=3", "dataset.path="]) == parse(["seed=3"])


def test_all_overrides_that_cannot_be_read_are_named_at_once() -> None:
    with pytest.raises(Refused) as error:
        lookup.configure(["a b=1", "seed=3", "model.steps=[1"])
    assert [finding.where for finding in error.value.findings] == ["a b=1", "model.steps=[1"]
    with pytest.raises(Refused) as error:
        lookup.configure(["model=falt", "hydra.verbose=true", "seed=1,2"])
    assert [finding.where for finding in error.value.findings] == ["model=falt", "hydra.verbose=true", "seed=1,2"]


def test_what_comes_from_the_environment_is_used_and_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERY", "SELECT hush FROM {ticker}")
    config = lookup.configure(["dataset.query=${oc.env:QUERY}", "dataset.queries.snp='${dataset.query}'", "seed=4"])
    assert getattr(config.dataset, "query", None) == "SELECT hush FROM {ticker}"
    assert config.environment == {"dataset.query": "${oc.env:QUERY}", "dataset.queries.snp": "${dataset.query}"}
    assert config.linked
    assert "hush" not in str(conf.plain(config))
    assert "hush" not in str(conf.values_of(config, ["dataset"]))
    assert not lookup.configure(["model.steps=5"]).linked


def test_a_finding_about_a_value_of_the_environment_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPS", "hush")
    with pytest.raises(Refused, match=r"model\.steps") as error:
        lookup.configure(["model.steps=${oc.env:STEPS}"])
    assert "hush" not in str(error.value)


def test_an_option_has_another_digest_when_its_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    before = conf.option_digests("model")
    monkeypatch.setenv("TAPELINE_CONF", str(tmp_path / "conf"))
    assert conf.option_digests("model") == before
    path = tmp_path / "conf" / "model" / "flat.yaml"
    path.write_text("# A comment.\n" + path.read_text())
    assert conf.option_digests("model") == before
    path.write_text(path.read_text().replace("30000", "500"))
    assert {name for name, digest in conf.option_digests("model").items() if digest != before[name]} == {"model=flat"}


def test_places_are_in_no_portable_configuration() -> None:
    record = conf.flat(conf.plain(lookup.configure(["track=mlflow"]), places=False))
    assert not [
        key
        for key in record
        if key.split(".")[0] in ("target", "track") or (key.startswith("serving.") and key != "serving.name")
    ]
    assert "serving.name" in record


def test_another_folder_of_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPELINE_CONF", str(tmp_path))
    with pytest.raises(Refused, match=r"config\.yaml: no such file; set TAPELINE_CONF"):
        lookup.configure([])
