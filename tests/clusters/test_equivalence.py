"""The promise: the graph that `run` executes here, and what the builder emits for Argo and for KFP, are one graph."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from tapeline import files, lookup
from tapeline.clusters import emit as build
from tapeline.clusters.plan import name
from tapeline.config.compose import options
from tapeline.pipeline.graph import pipeline

More = tuple[str, ...]
"""Overrides beside the experiment."""
BUILDS = [
    ("snp_lightgbm", ("hw=cpu", "tune=optuna")),
    ("snp_deep", ("hw=gpu",)),
    *((experiment, ("hw=cpu",)) for experiment in options("experiment")),
    *(
        pytest.param(experiment, ("hw=gpu",), marks=pytest.mark.long)
        for experiment in options("experiment")
        if experiment != "snp_deep"
    ),
]


@dataclass(frozen=True)
class Node:
    """A step as one of the three describes it, in terms of none of them."""

    after: frozenset[str]
    takes: frozenset[tuple[str, str]]
    """Artifact, and who makes it."""
    makes: frozenset[str]
    says: frozenset[str]
    when: tuple[str, str, str] | None
    """Who says it, what, and the value."""


@dataclass(frozen=True)
class Graph:
    """All of it."""

    nodes: dict[str, Node]
    defaults: dict[str, str]
    """Of the parameters of a run."""
    built: dict[str, tuple[str, ...]]
    """The arguments of each step's pod before those of a submitted run: overrides, and what was built."""
    parameters: dict[str, frozenset[str]]
    """Keys that a submitted run sets in each step."""


def _here(typed: list[str]) -> Graph:
    steps = pipeline(lookup.configure(typed))
    makers = {made.name: step.name for step in steps for made in step.makes}
    makers |= {said: step.name for step in steps for said in step.parameters}
    nodes = {
        step.name: Node(
            after=frozenset(makers[each] for each in (*step.inputs, *([step.when] if step.when else []))),
            takes=frozenset((each, makers[each]) for each in step.inputs),
            makes=frozenset(made.name for made in step.makes),
            says=frozenset(step.parameters),
            when=(makers[step.when], step.when, "true") if step.when else None,
        )
        for step in steps
    }
    return Graph(nodes, {}, {}, {})


@cache
def _emitted(target: str, experiment: str, more: More) -> dict[str, str]:
    typed = [f"target={target}", f"experiment={experiment}", *more]
    return build.emit(lookup.configure(typed), typed)


def _main(target: str, experiment: str, more: More) -> Any:
    whole = lookup.configure([f"experiment={experiment}", *more])
    emitted = _emitted(target, experiment, more).items()
    texts = {path.rpartition("/")[2]: text for path, text in emitted if "schedules/" not in path}
    return files.yaml_documents(texts[f"{name(whole)}.yaml"])[0]


def _arguments(words: list[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """What a build gives a pod, and the keys that a submitted run sets in it."""
    step, rest = words[:2], words[2 : next(i for i, word in enumerate(words) if word in ("--in", "--out"))]
    assert step[0] == "step"
    at = rest.index("--submitted") if "--submitted" in rest else len(rest)
    submitted = [word.partition("=") for word in rest[at + 1 :]]
    assert all(value.startswith("{{") and value.endswith("}}") for _, _, value in submitted)
    return tuple(rest[:at]), frozenset(key for key, _, _ in submitted)


def _in_argo(experiment: str, more: More) -> Graph:
    spec = _main("argo", experiment, more)["spec"]
    templates = {each["name"]: each for each in spec["templates"]}
    nodes, given, parameters = {}, {}, {}
    for task in templates[spec["entrypoint"]]["dag"]["tasks"]:
        template = templates[task["template"]]
        when = re.fullmatch(r"\{\{tasks\.(\w+)\.outputs\.parameters\.(\w+)\}\} == (\w+)", task.get("when", ""))
        taken = {each["name"]: each["from"] for each in task.get("arguments", {}).get("artifacts", [])}
        nodes[task["name"]] = Node(
            after=frozenset(task["depends"].split(" && ")) if "depends" in task else frozenset(),
            takes=frozenset((each, re.sub(r"\{\{tasks\.(\w+)\..*", r"\1", text)) for each, text in taken.items()),
            makes=frozenset(each["name"] for each in template["outputs"].get("artifacts", [])),
            says=frozenset(each["name"] for each in template["outputs"].get("parameters", [])),
            when=(when[1], when[2], when[3]) if when else None,
        )
        given[task["name"]], parameters[task["name"]] = _arguments(template["container"]["args"])
    defaults = {each["name"]: each["value"] for each in spec["arguments"]["parameters"]}
    return Graph(nodes, defaults, given, parameters)


def _in_kfp(experiment: str, more: More) -> Graph:
    spec = _main("kfp", experiment, more)
    nodes, given, parameters = {}, {}, {}
    for key, task in spec["root"]["dag"]["tasks"].items():
        component, when = spec["components"][task["componentRef"]["name"]], None
        step, inputs = key, task.get("inputs", {})
        if "dag" in component:  # the pipeline around a conditional task
            (around,) = component["dag"]["tasks"].values()
            said = re.fullmatch(
                r"inputs\.parameter_values\['pipelinechannel--(\w+)'\] == '(\w+)'", around["triggerPolicy"]["condition"]
            )
            assert said is not None
            source = inputs["parameters"][said[1]]["taskOutputParameter"]
            when = (source["producerTask"], source["outputParameterKey"], said[2])
            ((step, inner),) = spec["components"][around["componentRef"]["name"]]["dag"]["tasks"].items()
            component = spec["components"][inner["componentRef"]["name"]]
        outputs = component.get("outputDefinitions", {})
        sources = {each: of["taskOutputArtifact"] for each, of in inputs.get("artifacts", {}).items()}
        assert all(of["outputArtifactKey"] == each for each, of in sources.items())
        nodes[step] = Node(
            after=frozenset(task.get("dependentTasks", [])),
            takes=frozenset((each, of["producerTask"]) for each, of in sources.items()),
            makes=frozenset(outputs.get("artifacts", {})),
            says=frozenset(outputs.get("parameters", {})),
            when=when,
        )
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        given[step], parameters[step] = _arguments(container["args"])
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    defaults = {each: parameter["defaultValue"] for each, parameter in inputs.items()}
    return Graph(nodes, defaults, given, parameters)


@pytest.mark.parametrize(("experiment", "more"), BUILDS)
def test_three_targets_agree_on_steps_order_artifacts_and_the_gates_condition(experiment: str, more: More) -> None:
    here = _here([f"experiment={experiment}", *more]).nodes
    assert _in_argo(experiment, more).nodes == here
    assert _in_kfp(experiment, more).nodes == here


@pytest.mark.parametrize(("experiment", "more"), BUILDS)
def test_argo_and_kfp_give_each_step_the_same_overrides_and_the_same_configuration(experiment: str, more: More) -> None:
    """What a pod makes of them is tested in test_built.py, with a conf/ that is not the builder's."""
    argo, kfp = (each(experiment, more).built for each in (_in_argo, _in_kfp))
    assert argo == kfp
    assert all(words[-1].startswith("--built={") for words in argo.values())


@pytest.mark.parametrize(("experiment", "more"), BUILDS)
def test_argo_and_kfp_take_the_same_parameters_at_the_same_steps(experiment: str, more: More) -> None:
    argo, kfp = _in_argo(experiment, more), _in_kfp(experiment, more)
    config = lookup.configure(["target=argo", f"experiment={experiment}", *more])
    keys = [
        key
        for key in config.target.model_dump()["parameters"]
        if not key.startswith("dataset.") or hasattr(config.dataset, key.partition(".")[2])
    ]
    assert argo.defaults == kfp.defaults == {key.replace(".", "_"): "" for key in keys}
    assert argo.parameters == kfp.parameters
    read = frozenset[str]().union(*argo.parameters.values())
    assert read == set(keys)
