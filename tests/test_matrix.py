"""All combinations of conf/'s options: which work, and that the others are refused with what to choose instead.

`make test` composes each without hw, and each hw once, and runs each dataset once; `make test-matrix` composes and
builds each, and runs each without hw.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import yaml

from tapeline import lookup
from tapeline.checks import before_run
from tapeline.config.compose import is_group, options
from tapeline.errors import Finding, Refused
from tests.conftest import Tapeline, metrics, steps

GROUPS = [group for group in ("dataset", "variant", "model", "hw", "tune") if is_group(group)]


def combinations(*without: str) -> list[list[str]]:
    """Overrides of each combination of the options of these groups."""
    groups = [group for group in GROUPS if group not in without]
    choices = ([f"{group}={option}" for option in options(group)] for group in groups)
    return [list(each) for each in itertools.product(*choices)]


def refusal(overrides: list[str]) -> tuple[Finding, ...]:
    """Why a run with these overrides does not start; empty where it does."""
    try:
        before_run(lookup.configure(overrides))
    except Refused as error:
        return tuple(error.findings)
    return ()


def works(overrides: list[str]) -> bool:
    """What the family itself says of the dataset."""
    chosen = dict(each.split("=") for each in overrides)
    # ranges of first, depth and decay need a model that has them, as that of experiment=bitcoin_tuned
    return chosen["tune"] not in ("layers", "published") and (
        lookup.family(chosen["model"]).supports(lookup.spec(chosen["dataset"])) is None
    )


PAIRS = combinations("hw")
HARDWARE = [each for each in combinations() if each[:2] == PAIRS[0][:2] and "tune=none" in each]


@pytest.mark.parametrize("overrides", [*PAIRS, *HARDWARE], ids=" ".join)
def test_a_combination_works_or_is_refused_with_what_to_choose(overrides: list[str]) -> None:
    findings = refusal(overrides)
    assert (findings == ()) == works(overrides)
    for finding in findings:
        group = finding.where.partition("=")[0].split(".")[0]
        assert group in GROUPS
        assert finding.problem
        assert finding.fix
        if group != "tune":
            groups = [group for group in GROUPS if f"{group}=" in finding.fix]
            alternatives = [f"{group}={option}" for group in groups for option in options(group)]
            assert any(alternative in finding.fix for alternative in alternatives)


@pytest.mark.matrix
@pytest.mark.parametrize("overrides", combinations(), ids=" ".join)
def test_hw_changes_nothing_about_what_is_refused(overrides: list[str]) -> None:
    assert (refusal(overrides) == ()) == works(overrides)


@pytest.mark.long
@pytest.mark.parametrize("dataset", options("dataset"))
def test_a_dataset_runs_with_its_own_choices(tapeline: Tapeline, folder: Path, dataset: str) -> None:
    few = ["dataset.rows=40000", "split.train=1d", "split.test=12h"] if dataset == "gresearch" else []
    code, _, err = tapeline("run", f"dataset={dataset}", *few, "debug=true")
    assert (code, err) == (0, "")
    assert metrics(folder)["ran"]["dataset"] == dataset


def test_debug_shortens_whatever_is_chosen_and_labels_it(tapeline: Tapeline, folder: Path) -> None:
    code, out, err = tapeline("config", "experiment=snp_flat", "debug=true", "seed=3")
    composed = yaml.safe_load(out)
    assert (code, err) == (0, "")
    assert composed["model"]["family"] == "flat"
    assert composed["model"]["steps"] < lookup.configure(["experiment=snp_flat"]).model.steps
    assert composed["experiment"] == composed["serving"]["name"] == "debug"
    assert composed["seed"] == 3
    assert yaml.safe_load(tapeline("config", "debug=true", "model.steps=7")[1])["model"]["steps"] == 7


@pytest.mark.parametrize("wrong", ["debug=tru", "debug=false"])
def test_debug_has_one_option(tapeline: Tapeline, wrong: str) -> None:
    code, _, err = tapeline("run", wrong)
    assert code == 2
    assert wrong in err
    assert "true" in err


@pytest.mark.matrix
@pytest.mark.parametrize("overrides", [each for each in PAIRS if works(each)], ids=" ".join)
def test_it_runs(tapeline: Tapeline, folder: Path, overrides: list[str]) -> None:
    off = [f"gate.{rule}=null" for rule in ("threshold", "baseline_margin", "confidence")]
    code, _, err = tapeline("run", *overrides, "debug=true", *off)
    assert (code, err) == (0, "")
    assert metrics(folder)["ran"]["experiment"] == "debug"
    assert steps(folder)["publish"] == "ran"
    assert [path.name for path in (folder / "store").iterdir() if path.is_dir()] == ["debug"]


@pytest.mark.matrix
@pytest.mark.parametrize("target", ["argo", "kfp"])
@pytest.mark.parametrize("overrides", [each for each in combinations() if works(each)], ids=" ".join)
def test_it_builds(tapeline: Tapeline, folder: Path, overrides: list[str], target: str) -> None:
    code, _, err = tapeline("build", f"target={target}", *overrides)
    assert code == 0, err
    emitted = list((folder / "workflows" / target).rglob("*.yaml"))
    assert emitted
    accelerator = lookup.configure(overrides).hw.accelerator
    text = "".join(json.dumps(list(yaml.safe_load_all(path.read_text()))) for path in emitted)
    assert accelerator is None or accelerator.resource in text
