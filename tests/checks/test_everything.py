"""`make check` over the shipped tree, and over copies of it with a mistake in a file."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tapeline.checks import everything, kustomize
from tapeline.config import compose as conf
from tests.checks import test_configuration, test_emitted, test_kustomize, test_many_mistakes
from tests.checks.planting import rules
from tests.conftest import ROOT, Tapeline

PLANTED = [
    *test_emitted.WORKFLOWS,
    *test_emitted.PIPELINES,
    *test_configuration.TYPED,
    *test_configuration.GRAPH,
    *test_configuration.DOCKERFILES,
    *(planted for _, planted in test_kustomize.RENDERED),
]


def test_every_rule_has_a_mistake_that_it_alone_finds() -> None:
    """But for one, tested with a toy dataset: each of our model families supports each of our datasets."""
    own = {name for name in rules() if name.partition(".")[0] not in test_many_mistakes.MODULES}
    assert {planted.rule for planted in PLANTED} == own - {"configuration.family_supports_dataset"}
    assert len(PLANTED) > 90


@pytest.mark.long
def test_the_shipped_tree_is_right(tapeline: Tapeline) -> None:
    code, out, err = tapeline("check")
    assert (code, err) == (0, "")
    options = sum(1 for path in (ROOT / "conf").glob("*/*.yaml"))
    assert f"{options} options and experiments" in out
    assert out.rstrip().endswith(": nothing found")


def test_check_takes_no_overrides(tapeline: Tapeline) -> None:
    code, _, err = tapeline("check", "model=flat")
    assert code == 2
    assert "model=flat: check does not read model; remove it" in err


def test_without_kubectl_one_line_says_what_was_left_out(tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kustomize, "can_render", lambda: False)
    monkeypatch.setattr(everything, "_options", lambda checked: None)
    code, out, _ = tapeline("check")
    assert code == 0
    assert out.startswith("kubectl is not installed, so deploy/kustomize was not rendered")


def test_without_what_emits_one_line_says_what_to_install(tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everything, "find_spec", lambda name: None if name == "kfp" else object())
    assert tapeline("check")[::2] == (
        2, "tapeline: check: the packages that write YAML for clusters are not installed; install tapeline[kfp]\n",
    )  # fmt: skip


@pytest.fixture
def copy(folder: Path, tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tree of a checkout, with one built workflow and pipeline."""
    for name in ("conf", "deploy"):
        shutil.copytree(ROOT / name, folder / name)
    for target in ("argo", "kfp"):
        assert tapeline("build", f"target={target}", "experiment=snp_flat")[0] == 0
    monkeypatch.setattr(conf, "root", lambda: folder)
    monkeypatch.setattr(kustomize, "can_render", lambda: False)
    return folder


EDITED = [
    ("workflows/argo/snp-flat-cpu.yaml", "name: train\n", "name: trian\n", "spec.templates[graph].dag.tasks"),
    ("workflows/argo/snp-flat-cpu.run.yaml", "name: snp-flat-cpu", "name: snp-flt-cpu",
     "spec.workflowTemplateRef.name: there is no WorkflowTemplate snp-flt-cpu; did you mean snp-flat-cpu?"),
    ("workflows/kfp/snp-flat-cpu.yaml", "step:0.1.0", "step:latest", "image: ghcr.io/tapeline/step:latest has"),
    ("workflows/kfp/snp-flat-cpu.yaml", "cachingOptions:", "cachingOption:", "has no field named"),
    ("conf/hw/cpu.yaml", "memory: 2Gi", "memory: 2GB", "conf/hw/cpu.yaml: hw.requests.memory=2GB: is not a quantity"),
    ("conf/experiment/snp_flat.yaml", "override /gate: accuracy", "override /gate: acuracy", "acuracy"),
    ("deploy/images/cpu/Dockerfile", "USER 10001:10001", "USER 0", ": USER: 0 is or may be root"),
    ("deploy/images/cpu/requirements.lock", "lightgbm==", "kfp==2.17.0\nlightgbm==", "kfp is in the image"),
    ("deploy/kustomize/base/kustomization.yaml", "namespace.yaml", "namespaces.yaml", "namespaces.yaml does not exist"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "right", "wrong", "line"), EDITED)
def test_a_file_that_was_edited_is_named(path: str, right: str, wrong: str, line: str, copy: Path,
                                         tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    if path.startswith("conf"):
        monkeypatch.setenv("TAPELINE_CONF", str(copy / "conf"))
        monkeypatch.setattr(everything, "_all_options", lambda: ["experiment=snp_flat", "target=argo"])
    else:
        monkeypatch.setattr(everything, "_options", lambda checked: None)
    file = copy / path
    assert right in file.read_text()
    file.write_text(file.read_text().replace(right, wrong))
    code, out, err = tapeline("check")
    assert (code, out) == (2, "")
    record = err.splitlines()
    assert all(each.startswith("tapeline: ") and len(re.findall("; ", each)) >= 1 for each in record)
    assert any(path in each and line in each for each in record), err
