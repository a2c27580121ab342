"""The graph as YAML for a cluster: make build target=argo experiment=snp_deep hw=gpu."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from tapeline import files
from tapeline.clusters import plan as planning
from tapeline.clusters.partitions import in_one_pod
from tapeline.clusters.plan import Plan
from tapeline.config.schema import Cluster, Config

EMITTERS = {
    "argo": "tapeline.clusters.argo.template",
    "kfp": "tapeline.clusters.kfp.pipeline",
    "tfjob": "tapeline.clusters.tfjob.job",
}
"""By `target.name`: the module that writes a plan as YAML."""


class Emitter(Protocol):
    """The interface of the modules for Argo, KFP and TFJob."""

    def emit(self, plan: Plan) -> dict[str, str]:
        """File names and their YAML."""

    def limits(self, plan: Plan) -> list[str]:
        """Sentences: what the system cannot do with the graph, and what happens instead."""


def emit(config: Config, overrides: Sequence[str]) -> dict[str, str]:
    """The files of a configuration by name; the header of each is the command that writes it.

    Raises:
        Refused: the target is not a cluster, or cannot have this configuration.
    """
    plan = laid_out(config, overrides)
    emitter = _emitter(config)
    header = f"# {shlex.join(['make', 'build', *overrides])}\n"
    return {name: header + text for name, text in emitter.emit(plan).items()}


def limits(config: Config, overrides: Sequence[str]) -> list[str]:
    """A sentence for each part of the graph that the target cannot do, with what happens instead."""
    plan = laid_out(config, overrides)
    mapped = [
        f"{step.name}: its {step.map_over} run in one pod, in processes side by side"
        for step in plan.steps
        if step.map_over and not step.ids
    ]
    sentences = [*mapped, *in_one_pod(config), *_emitter(config).limits(plan)]
    return [f"target={config.target.name}: {sentence}" for sentence in sentences]


def _emitter(config: Config) -> Emitter:
    return cast(Emitter, importlib.import_module(EMITTERS[config.target.name]))


def laid_out(config: Config, overrides: Sequence[str]) -> Plan:
    """The plan: a pod for each step, or one for several, by `target.granularity`.

    Raises:
        Refused: as `emit`.
    """
    return planning.plan(config, overrides, fused=fused(config))


def fused(config: Config) -> bool:
    """Whether the target runs all steps up to the report in one pod."""
    return getattr(config.target, "granularity", "step") == "fused"


def write(config: Config, texts: Mapping[str, str]) -> list[Path]:
    """Write what was emitted into `target.folder`; return the paths."""
    folder = Path(cast(Cluster, config.target).folder)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(folder / name, text.encode())
    return [folder / name for name in texts]
