"""The composed configuration travels: a pod whose conf/ differs from the builder's refuses to run.

The builder composes the conf/ of the checkout, a pod the copy that TAPELINE_CONF names.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tapeline import files, lookup
from tapeline.checks.emitted import emitted
from tapeline.cli import main as cli
from tapeline.clusters import built
from tapeline.clusters import emit as build
from tapeline.clusters.plan import SUBMITTED, Plan, plan
from tapeline.errors import Refused
from tapeline.pipeline.graph import artifacts
from tapeline.tables.table import open_table
from tests.conftest import ROOT, Tapeline, metrics, subprocess_tapeline

SMALL = ("model.steps=40", "model.report_every=20", "gate.threshold=0", "gate.baseline_margin=null")
Change = Callable[..., None]


@cache
def _plan(*overrides: str) -> Plan:
    """As the builder makes it, with the conf/ of the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TAPELINE_CONF", raising=False)
        return plan(lookup.configure(["target=argo", *overrides]), ["target=argo", *overrides])


def _arguments(plan: Plan, folder: Path, submitted: Sequence[str] = ()) -> dict[str, list[str]]:
    """By step: the arguments of its pod, with paths of this machine."""
    files = {made.name: folder / made.file for made in artifacts(plan.steps).values()}
    found = {}
    for task in plan.tasks:
        keys = {each.key: "" for each in task.parameters}
        given = {key: value for key, _, value in (text.partition("=") for text in submitted) if key in keys}
        words = [*task.arguments, *(f"{key}={value}" for key, value in {**keys, **given}.items())]
        words += [word for name in task.takes for word in (task.flag(name), f"{name}={files[name]}")]
        words += [word for made in task.makes for word in ("--out", f"{made.name}={files[made.name]}")]
        words += [word for name in task.outputs for word in ("--out", f"{name}={folder / name}")]
        found[task.name] = [f"serving.store={folder / 'store'}" if "serving.store=" in word else word for word in words]
    return found


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """Let this process have a conf/ of its own, as an image has, and change lines of its files."""
    conf = tmp_path / "image" / "conf"
    shutil.copytree(ROOT / "conf", conf)
    monkeypatch.setenv("TAPELINE_CONF", str(conf))

    def change(file: str, old: str, new: str) -> None:
        text = (conf / file).read_text()
        assert old in text
        (conf / file).write_text(text.replace(old, new))

    return change


def _refused(tapeline: Tapeline, arguments: Sequence[str], *said: str) -> None:
    code, out, err = tapeline(*arguments)
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert all(each in lines[0] for each in said), err


@pytest.mark.parametrize("submitted", [(), ("model.steps=7",), ("model=flat",), ("seed=3",)], ids=" ".join)
@pytest.mark.parametrize(
    ("step", "file", "old", "new", "said"),
    [
        ("ingest", "dataset/indices.yaml", "as_of: 17:00", "as_of: 16:00", ("dataset.as_of", "17:00", "16:00")),
        ("train", "model/deep.yaml", "steps: 30000", "steps: 500", ("model.steps", "30000", "500")),
        ("train", "hw/cpu.yaml", "threads: 1", "threads: 2", ("hw.threads", "1", "2")),
    ],
)
def test_a_pod_with_another_conf_refuses_and_names_the_key_and_both_values(
    step: str,
    file: str,
    old: str,
    new: str,
    said: tuple[str, ...],
    submitted: tuple[str, ...],
    tapeline: Tapeline,
    folder: Path,
    image: Change,
) -> None:
    (folder / "table").mkdir()
    arguments = _arguments(_plan(), folder, submitted)[step]
    image(file, old, new)
    _refused(tapeline, arguments, *said)
    assert not (folder / "fitted").exists()
    assert not (folder / "raw").exists()


def test_a_submitted_option_is_compared_by_its_digest(tapeline: Tapeline, folder: Path, image: Change) -> None:
    (folder / "table").mkdir()
    image("model/flat.yaml", "learning_rate: 0.0001", "learning_rate: 0.1")
    arguments = _arguments(_plan(), folder, ["model=flat"])["train"]
    _refused(tapeline, arguments, "model=flat: built with an option of digest")
    train = next(task for task in _plan().tasks if task.name == "train")
    built.check(train.built, lookup.configure(train.overrides), ["model=deep"], train.steps)


def test_an_option_that_only_the_image_has_is_refused(tapeline: Tapeline, folder: Path, image: Change) -> None:
    (folder / "table").mkdir()
    conf = folder / "image" / "conf" / "model"
    shutil.copy(conf / "flat.yaml", conf / "other.yaml")
    _refused(tapeline, _arguments(_plan(), folder, ["model=other"])["train"], "model=other: this option did not exist")


def test_all_keys_that_differ_are_named_at_once(tapeline: Tapeline, folder: Path, image: Change) -> None:
    (folder / "table").mkdir()
    image("model/deep.yaml", "steps: 30000", "steps: 500")
    image("model/deep.yaml", "[50, 25]", "[60, 25]")
    code, _, err = tapeline(*_arguments(_plan(), folder)["train"])
    assert code == 2
    assert [line.split(": ")[1] for line in err.splitlines()] == ["model.hidden", "model.steps"]


def test_what_a_step_does_not_read_may_differ(tapeline: Tapeline, folder: Path, image: Change) -> None:
    image("model/deep.yaml", "steps: 30000", "steps: 500")
    image("serving/default.yaml", "keep: 5", "keep: 6")
    assert tapeline(*_arguments(_plan(), folder)["ingest"])[0] == 0
    assert (folder / "raw").is_dir()


def test_a_job_of_one_pod_compares_all_that_its_steps_read(tapeline: Tapeline, folder: Path, image: Change) -> None:
    config = lookup.configure(["target=tfjob"])
    [text] = build.emit(config, ["target=tfjob"]).values()
    worker = yaml.safe_load(text)["spec"]["tfReplicaSpecs"]["Worker"]
    [container] = worker["template"]["spec"]["containers"]
    image("model/deep.yaml", "steps: 30000", "steps: 500")
    _refused(tapeline, [word.replace("$$", "$") for word in container["args"]], "model.steps", "30000", "500")


@pytest.mark.parametrize(
    "submitted",
    [
        pytest.param((), id="as built", marks=pytest.mark.long),
        pytest.param(("model=flat", "model.steps=20"), id="submitted"),
    ],
)
def test_pods_with_the_same_conf_give_the_same_numbers(
    submitted: tuple[str, ...], tapeline: Tapeline, folder: Path, image: Change
) -> None:
    calls = _arguments(_plan(*SMALL), folder, submitted)
    for name, arguments in calls.items():
        if "fitted=" in " ".join(arguments) and "--out" in arguments and name == "train":
            done = subprocess_tapeline(*arguments, cwd=folder)
            assert (done.returncode, done.stderr) == (0, "")
        else:
            assert cli.main(arguments) == 0
    assert tapeline("run", *SMALL, *submitted)[0] == 0
    assert (folder / "metrics.json").read_bytes() == (folder / "runs" / "latest" / "metrics.json").read_bytes()
    assert metrics(folder)["ran"]["model"] == ("flat" if submitted else "deep")


def _built(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {task.name: task.arguments for task in plan.tasks}


@pytest.mark.parametrize("change", ["model.steps=500", "model=flat", "gate.threshold=0.5"])
def test_a_change_leaves_the_arguments_of_steps_that_do_not_read_it(change: str) -> None:
    before, after = _built(_plan()), _built(_plan(change))
    same = {name for name in before if before[name] == after[name]}
    assert {"ingest", "features", "export", "evaluate"} <= same
    assert ("train" in same) == change.startswith("gate")
    assert "gate" not in same


def test_a_conf_of_the_builder_that_differs_makes_another_template(
    folder: Path, image: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So submit does not take the one in the cluster for the same."""
    from tapeline.clusters.argo import template as argo

    image("model/deep.yaml", "steps: 30000", "steps: 500")

    def digest(made: Plan) -> str:
        return files.digest(argo.template(made).to_dict()["spec"])

    config = lookup.configure(["target=argo"])
    assert config.model.steps == 500
    assert digest(plan(config, ["target=argo"])) != digest(_plan())


def test_a_value_of_the_environment_stands_in_no_emitted_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPS", "81737")
    monkeypatch.setenv("QUERY", "SELECT Date, hush FROM drawer.{ticker}")
    overrides = ["model.steps='${oc.decode:${oc.env:STEPS}}'", "dataset.query=${oc.env:QUERY}"]
    for target in ("argo", "kfp", "tfjob"):
        config = lookup.configure([f"target={target}", *overrides])
        assert (config.model.steps, getattr(config.dataset, "query", None)) == (
            81737,
            "SELECT Date, hush FROM drawer.{ticker}",
        )
        texts = build.emit(config, [f"target={target}", *overrides])
        assert not [name for name, text in texts.items() if "81737" in text or "hush" in text]
        assert all("${oc.env:QUERY}" in text for name, text in texts.items() if "run" not in name and "sch" not in name)
        assert list(emitted(texts)) == []


def test_a_pod_resolves_the_environment_by_itself(
    tapeline: Tapeline, folder: Path, image: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YEAR", "2011")
    override = "dataset.cutoff_year='${oc.decode:${oc.env:YEAR}}'"
    arguments = _arguments(plan(lookup.configure(["target=argo", override]), ["target=argo", override]), folder)
    monkeypatch.setenv("YEAR", "2013")
    assert tapeline(*arguments["ingest"])[0] == 0
    assert tapeline(*arguments["features"])[0] == 0
    import numpy as np

    assert open_table(folder / "table").times("all")[0].astype("datetime64[Y]") == np.datetime64("2013")


def test_a_run_writes_no_value_of_the_environment(
    tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUERY", "SELECT Date, hush FROM drawer.{ticker}")
    monkeypatch.setenv("WHERE", str(folder / "somewhere-else"))
    override = ["dataset.query=${oc.env:QUERY}", "serving.store=${oc.env:WHERE}/store"]
    assert tapeline("run", "model=flat", *SMALL, *override)[0] == 0
    run = (folder / "runs" / "latest").resolve()
    assert (folder / "somewhere-else" / "store").is_dir()
    texts = {path: path.read_text(errors="replace") for path in run.rglob("*.[yjtl]*") if path.is_file()}
    texts |= {path: path.read_text() for path in folder.glob(".tapeline/cache/*/*/entry.json")}
    assert not [path for path, text in texts.items() if "hush" in text]
    assert "somewhere-else" not in (run / "config.yaml").read_text() + (run / "run.json").read_text()
    assert "${oc.env:QUERY}" in (run / "config.yaml").read_text()
    monkeypatch.setenv("QUERY", "SELECT Date, other FROM drawer.{ticker}")
    assert tapeline("run", "model=flat", *SMALL, *override, "why=true")[0] == 0
    assert "ingest     ran" in (folder / "runs" / "latest" / "log.txt").read_text()


@pytest.mark.parametrize("key", ["target.namespace", "hw.image", "hw.limits.memory"])
def test_what_a_build_writes_out_cannot_come_from_the_environment(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALUE", "hidden7")
    overrides = ["target=argo", f"{key}=${{oc.env:VALUE}}"]
    with pytest.raises(Refused, match="comes from the environment") as error:
        plan(lookup.configure(overrides), overrides)
    assert [finding.where for finding in error.value.findings] == [key]
    assert "hidden7" not in str(error.value)


@pytest.mark.parametrize(
    "override",
    [
        "dataset.query='SET password=hunter2; SELECT * FROM {ticker}'",
        "dataset.columns.snp=AKIAABCDEFGHABCDEFGH",
    ],
)
def test_a_value_that_may_be_a_secret_makes_build_refuse(override: str, tapeline: Tapeline, folder: Path) -> None:
    code, _, err = tapeline("build", "target=argo", override)
    assert code == 2
    assert "${oc.env:NAME}" in err
    assert not (folder / "workflows").exists()


@pytest.mark.parametrize("key", ["dataset", "dataset.source", "hw", "hw.image", "experiment", "target.namespace"])
def test_a_key_that_changes_the_graph_or_its_pods_is_no_parameter(key: str) -> None:
    overrides = ["target=argo", f"target.parameters=[{key}]"]
    with pytest.raises(Refused, match=f"target.parameters: {key}: changes"):
        plan(lookup.configure(overrides), overrides)


def test_a_key_that_decides_about_a_step_is_no_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    from tapeline.clusters import plan as planning

    monkeypatch.setattr(planning, "shaping", lambda: {"split.name"})
    for key in ("split", "split.name"):
        overrides = ["target=argo", f"target.parameters=[{key}]"]
        with pytest.raises(Refused, match="changes the steps or partitions of the graph"):
            plan(lookup.configure(overrides), overrides)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_the_argument_is_json_that_no_cluster_takes_for_a_template(values: dict[str, object]) -> None:
    text = built.encode(values)
    assert json.loads(text) == values
    assert not re.search(r"\{\{|\}\}", text)
    assert built.encode(dict(reversed(values.items()))) == text


def test_the_argument_is_one_word_before_the_submitted_ones() -> None:
    for task in _plan().tasks:
        (at,) = [number for number, word in enumerate(task.arguments) if word.startswith(built.BUILT)]
        assert SUBMITTED not in task.arguments[:at]
        assert not re.search(r'"[^"]*(path|url|store|cache|port)"', task.built)
