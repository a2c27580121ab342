"""`make check`: every option and experiment, the YAML emitted for them, workflows/, images and the Kustomize tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from tapeline.checks import fields, images, kustomize, of_configuration, pods, programs
from tapeline.checks.configuration import (
    family_supports_dataset,
    metric_fits_task,
    search_fits_the_model,
    split_fits_the_data,
)
from tapeline.checks.emitted import emitted
from tapeline.checks.nodes import Node, read
from tapeline.checks.registry import rules
from tapeline.clusters import emit as build
from tapeline.config import compose as conf
from tapeline.config.schema import Cluster, Config
from tapeline.errors import Finding, Refused, refuse
from tapeline.lookup import configure as compose
from tapeline.pipeline.graph import STEPS

EMITTERS = {"hera": "argo", "kfp": "kfp"}
"""Packages that emit YAML, and tapeline's extras that install them."""
PAIRED = ("gate", "model", "split", "tune")
PAIRS = (metric_fits_task, family_supports_dataset, search_fits_the_model, split_fits_the_data)
"""Groups whose options another dataset or model may need, and the rules that say so."""
SHAPING = ("", "hw", "target")
"""Groups that change pods, and the default: these options are emitted for each cluster. The others change only values
in the arguments, and are emitted for one; workflows/ has all experiments for Argo and KFP."""


@dataclass
class Checked:
    """What was checked, and the findings."""

    counts: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    containers: list[Node] = field(default_factory=list)
    """Of all pods that are emitted, committed or rendered, each once by its program and arguments."""
    _seen: set[tuple[str, ...]] = field(default_factory=set)

    def keep(self, documents: Iterable[Node]) -> None:
        """Keep the containers of documents."""
        for document in documents:
            for container in (each for pod in pods.pods(document) for each in pod.containers):
                if (words := tuple(programs.words(container))) not in self._seen:
                    self._seen.add(words)
                    self.containers.append(container)

    def add(self, findings: Iterable[Finding]) -> None:
        """Add findings; one that several files share is kept once, for the first file."""
        known = {_what(each) for each in self.findings}
        for finding in findings:
            if _what(finding) not in known:
                known.add(_what(finding))
                self.findings.append(finding)

    def __str__(self) -> str:
        counted = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        return "\n".join([*self.left_out, f"checked {counted}: nothing found"])


def _what(finding: Finding) -> tuple[str, str]:
    return finding.where.partition(": ")[2] or finding.where, finding.problem


def everything() -> Checked:
    """Apply all rules to the whole project.

    Raises:
        Refused: a package that emits YAML is not installed.
    """
    absent = [f"tapeline[{extra}]" for package, extra in EMITTERS.items() if find_spec(package) is None]
    if absent:
        raise refuse(
            "check", "the packages that write YAML for clusters are not installed", f"install {' and '.join(absent)}"
        )
    checked, root = Checked(), conf.root()
    checked.add(finding for rule in rules("graph") for finding in rule(STEPS))
    checked.counts["steps"] = len(STEPS)
    _options(checked)
    _committed(checked, root)
    _deployed(checked, root / "deploy")
    return checked


def _options(checked: Checked) -> None:
    """Compose each option and experiment, apply the rules for each cluster target, and emit it: see SHAPING.

    A split, model or search that the default dataset or model does not have is composed only; experiments have it.
    """
    options = ["", *_all_options()]
    checked.counts |= {"options and experiments": len(options) - 1, "emitted files": 0}
    composed = {option: _composed(option) for option in options}
    clusters = [
        each
        for name, each in composed.items()
        if name.startswith("target=") and isinstance(each, Config) and isinstance(each.target, Cluster)
    ]
    seen: list[Config] = []
    for option, config in composed.items():
        if not isinstance(config, Config):
            checked.add(_placed(config, option))
            continue
        for moved in [config] if _is_for_cluster(config) else [_moved(config, each) for each in clusters]:
            if moved in seen:
                continue
            seen.append(moved)
            if option.partition("=")[0] in PAIRED and any(True for rule in PAIRS for _ in rule(moved)):
                continue
            if found := list(of_configuration(moved)):
                checked.add(_placed(found, option))
            elif option.partition("=")[0] in SHAPING or moved.target == clusters[0].target:
                _emit(checked, moved, option)


def _is_for_cluster(config: Config | Sequence[Finding]) -> bool:
    return isinstance(config, Config) and isinstance(config.target, Cluster)


def _all_options() -> list[str]:
    groups = sorted(path.name for path in conf.folder().iterdir() if path.is_dir())
    return [f"{group}={option}" for group in groups for option in conf.options(group)]


def _composed(option: str) -> Config | Sequence[Finding]:
    try:
        return compose([option] if option else [])
    except Refused as error:
        return error.findings


def _moved(config: Config, cluster: Config) -> Config:
    """The configuration with the target and the store of a cluster, where runs are not tracked."""
    serving = config.serving.model_copy(update={"store": cluster.serving.store})
    return replace(config, target=cluster.target, serving=serving, track=None)


def _placed(findings: Iterable[Finding], option: str) -> Iterator[Finding]:
    """Findings about keys, with the file of conf/ that sets the key."""
    file = f"conf/{option.replace('=', '/')}.yaml" if option else "conf/config.yaml"
    for finding in findings:
        section = finding.where.partition(".")[0].partition("=")[0]
        own = _default(section) if not option else None
        yield replace(finding, where=f"{own or file}: {finding.where}")


def _default(section: str) -> str | None:
    """The file of the option that conf/config.yaml or the default dataset chooses for a section."""
    chosen = _defaults("config.yaml")
    chosen |= {
        key.removeprefix("override /").partition("@")[0]: name
        for key, name in _defaults(f"dataset/{chosen['dataset']}.yaml").items()
    }
    return f"conf/{section}/{chosen[section]}.yaml" if chosen.get(section) else None


def _defaults(file: str) -> dict[str, str]:
    """The options in the defaults list of a file of conf/."""
    import yaml

    listed = yaml.safe_load((conf.folder() / file).read_text()).get("defaults", [])
    return {key: name for each in listed if isinstance(each, dict) for key, name in each.items()}


def _emit(checked: Checked, config: Config, option: str) -> None:
    overrides = [option] if option else []
    target = cast(Cluster, config.target)
    command = " ".join(["make build", f"target={target.name}", *(each for each in overrides if "target=" not in each)])
    try:
        texts = build.emit(config, overrides)
    except Refused as error:
        checked.add(_placed(error.findings, option))
        return
    checked.counts["emitted files"] += len(texts)
    named = {f"{target.folder}/{name} ({command})": text for name, text in texts.items()}
    checked.add(emitted(named))
    for name, text in named.items():
        content = read(text, name)
        checked.keep(content if isinstance(content, list) else ())


def _committed(checked: Checked, root: Path) -> None:
    """The committed files of workflows/, for each target."""
    for folder in sorted(path for path in (root / "workflows").glob("*") if path.is_dir()):
        files = [path for path in sorted(folder.rglob("*.yaml")) if path.name != kustomize.FILE]
        checked.add(emitted({path.relative_to(root).as_posix(): path.read_text() for path in files}))
        checked.add(kustomize.check_files(folder, folder.relative_to(root).as_posix()))
        checked.counts["files of workflows/"] = checked.counts.get("files of workflows/", 0) + len(files)


def _deployed(checked: Checked, deploy: Path) -> None:
    """Dockerfiles, and the files and rendered objects of the Kustomize tree."""
    if (deploy / "images").is_dir():
        checked.counts["Dockerfiles"] = len(list((deploy / "images").glob("*/Dockerfile")))
        checked.add(images.images(deploy / "images", "deploy/images"))
    tree = deploy / "kustomize"
    if tree.is_dir():
        checked.counts["kustomizations"] = len(kustomize.kustomizations(tree))
        checked.add(kustomize.check_files(tree, "deploy/kustomize"))
        if kustomize.can_render():
            checked.add(kustomize.rendered(tree, "deploy/kustomize", checked.keep))
        else:
            checked.left_out.append(
                "kubectl is not installed, so deploy/kustomize was not rendered: install it to check that too"
            )
        if not fields.can_check_built_in():
            checked.left_out.append(
                "kubernetes-validate is not installed, so the fields of Kubernetes' own kinds were not checked: "
                "install tapeline[check] to check these too"
            )
        checked.left_out += [
            f"deploy/kustomize/{file} has zeros for digests: set those of your images before you apply it"
            for file in kustomize.placeholders(tree)
        ]
