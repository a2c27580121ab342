"""The shipped experiments on cpu and gpu as files in workflows/, a folder for each target: tapeline workflows"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tapeline import files

if TYPE_CHECKING:
    from tapeline.config.schema import Cluster

GROUP = "clusters"
HELP = "write the shipped experiments into workflows/, for Argo and KFP"
OPTIONS = ()
READS = ()
EXAMPLES = (
    ("tapeline workflows", "writes all files again, and removes those of removed experiments"),
    ("make workflows", "does the same in a checkout, and installs first what it needs"),
)
HARDWARE = {"argo": ("cpu", "gpu", "gpu-t4"), "kfp": ("cpu", "gpu")}
"""By target: the profiles; on Argo those of the overlays, each in the folder that the component of its GPU applies."""
KUSTOMIZATION, VERSION = "kustomization.yaml", "kustomize.config.k8s.io/v1beta1"


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Write them, and print how many."""
    print(f"{len(write())} files in workflows/")


def write() -> list[Path]:
    """Write all files, and remove those of removed experiments; return the paths."""
    from tapeline import files

    made = {path: text for target in HARDWARE for path, text in emit(target).items()}
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(path, text.encode())
    for folder in {path.parent for path in made}:
        for path in set(folder.glob("*.yaml")) - set(made):
            path.unlink()
    return list(made)


def emit(target: str) -> dict[Path, str]:
    """The files of one target by path, with a kustomization for each folder; schedules have their own."""
    from tapeline.clusters.emit import emit as emitted
    from tapeline.lookup import configure

    folder = Path(cast("Cluster", configure([f"target={target}"]).target).folder)
    texts: dict[str, str] = {}
    for overrides in _lines(target):
        texts |= emitted(configure(overrides), overrides)
    made = {folder / name: text for name, text in texts.items()}
    for each in {path.parent for path in made}:
        own = {path.name: text for path, text in made.items() if path.parent == each}
        made[each / KUSTOMIZATION] = _kustomization(own)
    return made


def _lines(target: str) -> Iterator[list[str]]:
    from tapeline.config.compose import options

    for experiment in options("experiment"):
        for hw in HARDWARE[target]:
            # the default goes without saying
            yield [f"target={target}", f"experiment={experiment}", *([] if hw == "cpu" else [f"hw={hw}"])]


def _kustomization(texts: Mapping[str, str]) -> str:
    """The kustomization of objects that kubectl apply takes: no runs, which have no name."""
    listed = [f"  - {name}\n" for name in sorted(texts) if all(map(_is_named, files.yaml_documents(texts[name])))]
    return f"# make workflows\napiVersion: {VERSION}\nkind: Kustomization\nresources:\n{''.join(listed)}"


def _is_named(thing: Mapping[str, Any]) -> bool:
    return "name" in thing.get("metadata", {})
