"""The tree of deploy/kustomize: its files, and the objects that kubectl renders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tapeline.checks import names
from tapeline.checks.emitted import objects, readable
from tapeline.checks.nodes import Node, read
from tapeline.checks.references import Tree
from tapeline.checks.registry import rules
from tapeline.errors import Finding, nearest

FILE, OUTSIDE = "kustomization.yaml", "outside.yaml"
OLD = {
    "bases": "resources",
    "commonLabels": "labels",
    "patchesStrategicMerge": "patches",
    "patchesJson6902": "patches",
    "vars": "replacements",
    "imageTags": "images",
}
"""Deprecated fields of kustomize, and their replacements."""
RENAMING = ("namePrefix", "nameSuffix")
"""Argo has a fixed name for ConfigMap artifact-repositories, and names stand in URLs, flags, Secrets and templates."""
FIELDS = (
    *("apiVersion", "kind", "metadata", "resources", "components", "namespace", "labels"),
    *("patches", "replacements", "images", "replicas", "configMapGenerator", "secretGenerator", "generatorOptions"),
    *("configurations", "openapi", "buildMetadata", "commonAnnotations", "sortOptions"),
)
LISTED = ("resources", "components", "configurations")
SERVERS = ("Deployment", "StatefulSet", "DaemonSet")


def policies(
    documents: Sequence[Mapping[str, Any]],
    where: str,
    outside: Sequence[Mapping[str, Any]] = (),
    known: set[str] | None = None,
) -> Iterator[Finding]:
    """Findings about rendered objects.

    Args:
        documents: as `kubectl kustomize` prints them.
        where: the folder that was rendered, for the findings.
        outside: objects that exist already, for example {kind: Secret, name: kaggle, keys: [KAGGLE_KEY]}.
        known: objects as JSON that were checked before; those of this call are added.
    """
    nodes = [_named(each, where) for each in documents]
    tree = Tree(nodes, outside)
    for rule in rules("tree"):
        yield from readable(rule, tree, nodes)
    known = set() if known is None else known
    texts = {json.dumps(node.value, default=str): node for node in nodes}
    yield from objects([node for text, node in texts.items() if text not in known])
    known.update(texts)


def _named(document: Mapping[str, Any], where: str) -> Node:
    name = Node(document, where).at("metadata", "name").value
    return Node(document, f"{where}: {document.get('kind')}/{name}")


def kustomizations(root: Path) -> list[Path]:
    """The folders of a tree with a kustomization.yaml."""
    return sorted(path.parent for path in root.rglob(FILE))


def check_files(root: Path, shown: str) -> Iterator[Finding]:
    """Findings about the files of a tree: valid YAML, no secrets, sound kustomizations."""
    for path in sorted(path for path in root.rglob("*") if path.suffix in (".yaml", ".yml")):
        name = f"{shown}/{path.relative_to(root).as_posix()}"
        content = read(path.read_text(), name)
        if isinstance(content, Finding):
            # a list is a patch, or outside.yaml
            if "contains list" not in content.problem:
                yield content
            continue
        for document in content:
            yield from names.no_secret_is_inside(document)
            if path.name == FILE:
                yield from check_kustomization(document, path.parent)


def check_kustomization(document: Node, folder: Path) -> Iterator[Finding]:
    """Findings about a kustomization: deprecated fields, downloads, missing files, secrets."""
    for node in document.each():
        if node.key in OLD:
            yield node.wrong("is deprecated in kustomize", f"use {OLD[node.key]}")
        elif node.key in RENAMING:
            problem = "would rename what Argo, TF Serving's clients and tapeline's commands look for by its name"
            yield node.wrong(problem, "use a namespace of your own instead, for example namespace: blue")
        elif node.key not in FIELDS:
            yield node.wrong("is not a field of kustomize", nearest(node.key, FIELDS, otherwise="remove it"))
    for key in LISTED:
        for node in document.at(key).each():
            if "://" in node.text or node.text.startswith(("github.com", "git@")) or "?ref=" in node.text:
                yield node.wrong(f"{node.value} would be downloaded", "keep a copy in the tree")
            elif not (folder / node.text).exists():
                siblings = [each.name for each in folder.iterdir()]
                yield node.wrong(f"{node.value} does not exist", nearest(node.text, siblings, otherwise="add it"))
    for generator in document.at("secretGenerator").each():
        for node in (generator.at("literals"), generator.at("data")):
            if node.value:
                yield node.wrong("contains a secret in plain text", "use envs with a file that Git ignores")
    if document.at("kind").value == "Component" and not (folder / "README.md").is_file():
        yield document.wrong(
            "the component has no README.md", "write one: what it does, what it needs, and one command"
        )


def rendered(root: Path, shown: str, keep: Callable[[Iterable[Node]], None]) -> Iterator[Finding]:
    """Findings about the rendered objects of every kustomization of the tree; a component is rendered on the base.

    `keep` gets the objects.
    """
    outside = _outside(root)
    folders = kustomizations(root)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        texts = list(pool.map(lambda folder: render(folder, root), folders))
    seen: set[str] = set()
    known: set[str] = set()
    for folder, (text, trouble) in zip(folders, texts, strict=True):
        where = f"{shown}/{folder.relative_to(root).as_posix()}".removesuffix("/.")
        if trouble:
            yield Finding(where, trouble, "correct its kustomization.yaml, and try kubectl kustomize")
            continue
        content = read(text, where)
        keep(content if isinstance(content, list) else ())
        found: Iterable[Finding] = (
            [content] if isinstance(content, Finding) else policies([x.value for x in content], where, outside, known)
        )
        for finding in found:
            # a mistake of the base is in everything built on it
            place = f"{finding.where.removeprefix(where)}{finding.problem}"
            if place not in seen:
                seen.add(place)
                yield finding


def render(folder: Path, root: Path) -> tuple[str, str]:
    """The rendered YAML of a kustomization, and kubectl's errors and warnings."""
    with tempfile.TemporaryDirectory() as name:
        if "kind: Component" in (folder / FILE).read_text():
            within = [os.path.relpath(each, Path(name).resolve()) for each in (root / "base", folder)]
            Path(name, FILE).write_text(f"resources: ['{within[0]}']\ncomponents: ['{within[1]}']\n")
            folder = Path(name)
        done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)  # noqa: S607
    return done.stdout, " ".join(done.stderr.split())


def placeholders(root: Path) -> list[str]:
    """Files of a tree in which digests of images are still the zeros that the tree has at first."""
    found = (path for path in sorted(root.rglob(FILE)) if f"sha256:{'0' * 64}" in path.read_text())
    return [path.relative_to(root).as_posix() for path in found]


def can_render() -> bool:
    """Whether kubectl is installed."""
    return shutil.which("kubectl") is not None


def _outside(root: Path) -> list[dict[str, Any]]:
    import yaml

    path = root / OUTSIDE
    return list(yaml.safe_load(path.read_text()) or []) if path.is_file() else []
