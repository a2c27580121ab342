from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tapeline import files
from tapeline.commands import workflows
from tapeline.config import compose as conf

FOLDER = conf.root() / "workflows"
BY_HAND = "make workflows writes these files; nobody else should"


@pytest.mark.parametrize("target", workflows.HARDWARE)
def test_the_files_are_those_that_the_builder_makes(target: str) -> None:
    made = {path.relative_to("workflows"): text for path, text in workflows.emit(target).items()}
    there = {path.relative_to(FOLDER): path.read_text() for path in (FOLDER / target).rglob("*.yaml")}
    assert there == made, BY_HAND


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_each_file_says_how_it_was_made_and_holds_no_secret_no_shell_and_no_mutable_tag(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# make workflows\n" if path.name == workflows.KUSTOMIZATION else "# make build target=")
    assert not re.search(r"(?i)password|secret_?access_?key: |\btoken: |BEGIN .*KEY", text)
    assert not re.search(r"\b(ba|da|z)?sh\b\s*$|^\s*- -c$|^\s*script:", text, re.MULTILINE)
    assert ":latest" not in text
    assert all(re.search(r":\d+\.\d+\.\d+$", image) for image in re.findall(r"image: (\S+)", text))


@pytest.mark.parametrize(
    ("folder", "profiles"),
    [("argo", {"cpu"}), ("argo/gpu", {"gpu"}), ("argo/gpu-t4", {"gpu-t4"}), ("kfp", {"cpu", "gpu"})],
)
def test_a_kustomization_lists_what_waits_in_a_cluster(folder: str, profiles: set[str]) -> None:
    """On Argo those of one profile: an overlay without a GPU has no template that needs one."""
    listed = yaml.safe_load((FOLDER / folder / workflows.KUSTOMIZATION).read_text())["resources"]
    assert {name.removesuffix(".yaml").removesuffix(".k8s") for name in listed} == {
        f"{experiment.replace('_', '-')}-{hw}" for experiment in conf.options("experiment") for hw in profiles
    }
    for name in listed:
        for each in files.yaml_documents((FOLDER / folder / name).read_text()):
            assert each["kind"] in ("WorkflowTemplate", "Pipeline", "PipelineVersion")
            assert "generateName" not in each["metadata"]
