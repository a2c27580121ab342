"""The key of a step: which packages, processors and versions of Python make a difference."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import polars
import pytest

from tapeline import lookup
from tapeline.pipeline import cache_key
from tapeline.pipeline.graph import pipeline

CONFIG = lookup.configure(["model=lightgbm"])
GRAPH = {step.name: step for step in pipeline(CONFIG)}


def environment(name: str) -> dict[str, str]:
    return cache_key.environment(GRAPH[name], CONFIG)


def test_a_step_has_the_packages_that_it_may_import() -> None:
    packages = {name: set(cache_key.packages(step, CONFIG)) for name, step in GRAPH.items()}
    assert {"numpy", "polars"} <= packages["ingest"] & packages["features"]
    assert not {"lightgbm", "matplotlib", "optuna", "hera", "kfp", "hydra"} & packages["ingest"]
    assert "lightgbm" in packages["train"]
    assert {"matplotlib", "jinja2"} <= packages["report"]
    assert "hera" not in set().union(*packages.values())


def test_a_family_that_is_not_chosen_does_not_matter() -> None:
    flat = lookup.configure(["model=flat"])
    assert "lightgbm" not in cache_key.packages(GRAPH["train"], flat)


def test_each_package_is_found_under_its_name() -> None:
    names = set().union(*(cache_key.packages(step, CONFIG) for step in GRAPH.values()))
    known = importlib.metadata.packages_distributions()
    for name in names & known.keys():
        assert cache_key.PACKAGES.get(name, name).lower() in {each.lower() for each in known[name]} | {"protobuf"}
        assert cache_key._version(name) != "none", name
    assert cache_key.packages(GRAPH["ingest"], CONFIG)["polars"] == polars.__version__


def test_a_version_changes_the_key_of_the_steps_that_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: environment(name) for name in ("ingest", "train")}
    found = cache_key._version
    monkeypatch.setattr(cache_key, "_version", lambda name: "9.9" if name == "lightgbm" else found(name))
    assert environment("ingest") == before["ingest"]
    changed = environment("train").items() ^ before["train"].items()
    assert {part for part, _ in changed} == {"package lightgbm"}


def test_flags_of_the_processor_matter_to_models_and_scores_only(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: environment(name) for name in GRAPH}
    monkeypatch.setattr(cache_key, "instruction_set", lambda: ("another",))
    changed = [name for name in GRAPH if environment(name) != before[name]]
    assert changed == [name for name in GRAPH if name not in ("ingest", "features")]


def test_a_patch_release_of_python_and_the_lock_file_do_not_matter() -> None:
    shown = environment("train")
    assert shown["Python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert not [part for part in shown if "lock" in part]


def test_imports_of_every_form_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner.py").write_text(
        "import one\nimport two.deep as t\nfrom three import (\n    a,\n    b as c,\n)\n"
        "def f():\n    from four.x import d, e  # noqa: X1\n"
    )
    monkeypatch.setattr(cache_key, "_root", lambda package: tmp_path)
    found = set(cache_key._found("toy.inner"))
    assert found >= {("one", ""), ("two.deep", ""), ("three", ""), ("four.x", "")}
    assert {each for each in found if each[1]} == {("three", "a"), ("three", "b"), ("four.x", "d"), ("four.x", "e")}
