"""What each word after `tapeline` does: it composes, checks, and hands on to a target.

Nothing heavy is imported before a verb needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tapeline.errors import Refused, refuse

if TYPE_CHECKING:
    from tapeline.config.schema import Config


@dataclass(frozen=True)
class Verb:
    """A word after `tapeline`."""

    does: str
    keys: Mapping[str, str]
    """Its own keys and what they may be, as "true|false" or any text; the rest goes to Hydra."""
    function: Callable[[list[str], dict[str, str]], None]
    plain: bool = True
    """Takes key=value only."""


def run(overrides: list[str], own: dict[str, str]) -> None:
    """The whole pipeline, on this machine."""
    from tapeline.checks import before_run
    from tapeline.clusters import built
    from tapeline.clusters import run_status as outcome
    from tapeline.pipeline import run_locally as local
    from tapeline.pipeline.graph import FETCHED, pipeline

    config = _composed(overrides)
    before_run(config)
    if "built" in own:
        built.check(own["built"], config, [], pipeline(config))
    folder = local.run(config, why=own.get("why") == "true", publish=own.get("publish") != "false")
    if own.get("files") == "true":
        print(*outcome.pack(folder / made.file for made in FETCHED), sep="\n")


def explore(overrides: list[str], own: dict[str, str]) -> None:
    """The data, before any training."""
    from tapeline.checks import before_run
    from tapeline.commands import explore

    config = _composed(overrides)
    before_run(config)
    explore.run(config)


def sweep(overrides: list[str], own: dict[str, str]) -> None:
    """One run for each combination of the values given, and a leaderboard."""
    from tapeline.commands.sweep import sweep

    sweep.run(overrides, name=own.get("name"))


def runs(overrides: list[str], own: dict[str, str]) -> None:
    """Past runs: a list, a comparison, one of them again, or fewer of them."""
    from tapeline.commands import runs as history

    history.run(overrides, own)


def build(overrides: list[str], own: dict[str, str]) -> None:
    """Write the graph in a cluster's words."""
    from tapeline.checks import before_build, before_write
    from tapeline.clusters import emit as build

    config = _composed(overrides)
    before_build(config)
    texts = build.emit(config, overrides)
    before_write(config, texts)
    for path in build.write(config, texts):
        print(path)
    for sentence in build.limits(config, overrides):
        print(f"tapeline: {sentence}", file=sys.stderr)


def check(overrides: list[str], own: dict[str, str]) -> None:
    """All rules over all that is here."""
    from tapeline.checks.everything import everything

    if overrides:
        raise refuse(overrides[0], "check looks at every option by itself", "leave it out")
    checked = everything()
    if checked.findings:
        raise Refused(*checked.findings)
    print(checked)


def workflows(overrides: list[str], own: dict[str, str]) -> None:
    """The shipped experiments in the clusters' words."""
    from tapeline.commands import workflows

    if overrides:
        raise refuse(overrides[0], "is no key of workflows", "leave it out, or use build")
    print(f"{len(workflows.write())} files in workflows/")


def submit(overrides: list[str], own: dict[str, str]) -> None:
    """A run on a cluster, followed and fetched."""
    from tapeline.commands import submit

    submit.run(overrides, own)


def publish(overrides: list[str], own: dict[str, str]) -> None:
    """Make an accepted run's model live."""
    from tapeline.commands import releases

    print(releases.publish(own.get("run", "latest"), _composed(overrides), own.get("why", "")))


def canary(overrides: list[str], own: dict[str, str]) -> None:
    """Serve an accepted run's model, or a version, beside the live one."""
    from tapeline.commands import releases

    config = _composed(overrides)
    print(releases.canary(own.get("run", "latest"), _number(own), config, own.get("why", "")))


def promote(overrides: list[str], own: dict[str, str]) -> None:
    """Make the canary, or a version, the live one."""
    from tapeline.serving.store import operations as verbs

    serving = _composed(overrides).serving
    print(verbs.promote(_number(own), serving.store, serving, own.get("why", "")))


def rollback(overrides: list[str], own: dict[str, str]) -> None:
    """Make the version live again that was live before."""
    from tapeline.serving.store import operations as verbs

    serving = _composed(overrides).serving
    print(verbs.rollback(serving.store, serving, own.get("why", "")))


def versions(overrides: list[str], own: dict[str, str]) -> None:
    """List the versions under a name."""
    from tapeline.commands import releases

    releases.show(_composed(overrides).serving)


def _composed(overrides: Sequence[str]) -> Config:
    from tapeline.lookup import configure as compose

    return compose(overrides)


def _number(own: Mapping[str, str]) -> int | None:
    """The own key version=N."""
    if "version" not in own:
        return None
    if not own["version"].isdecimal() or int(own["version"]) >= 2**63:
        raise refuse(
            f"version={own['version']}", "is no number of a version", "write one as tapeline versions prints it"
        )
    return int(own["version"])


def serve(overrides: list[str], own: dict[str, str]) -> None:
    """A local server on the store, until SIGTERM or Ctrl-C."""
    from tapeline.console import logged
    from tapeline.serving.servers import container, server

    composed = _composed(overrides)
    serving = composed.serving
    if serving.engine == "tfserving":
        container.run(serving)
    listen = server.Listen(serving.host, serving.grpc_port, serving.rest_port)
    with logged():
        poll = server.follow_store(serving.store)
        server.serve(listen, poll, seconds=serving.poll_seconds, threads=composed.hw.threads)


def predict(overrides: list[str], own: dict[str, str]) -> None:
    """Ask a server about a date, a random row or a file of rows."""
    from tapeline.commands.predict import run

    run(_composed(overrides), own, _number(own))


def config(overrides: list[str], own: dict[str, str]) -> None:
    """Print the composed configuration."""
    import yaml

    from tapeline.config.compose import plain

    print(yaml.safe_dump(plain(_composed(overrides)), sort_keys=False, allow_unicode=True), end="")


def step(words: list[str], own: dict[str, str]) -> None:
    """Steps as a program, for containers."""
    from tapeline.commands import step as program

    program.run(words)


def summary(overrides: list[str], own: dict[str, str]) -> None:
    """How a run on a cluster ended, for its last pod."""
    from tapeline.clusters import run_status as outcome

    lines = outcome.pack(map(Path, own["files"].split(","))) if "files" in own else [outcome.summary(own)]
    print(*lines, sep="\n")


def store(arguments: list[str], own: dict[str, str]) -> None:
    """The store itself: init [PLACE] key=value ..., or sync URL DIR follow=true seconds=10."""
    from tapeline.commands import store as stores

    words = [word for word in arguments if "=" not in word.partition("://")[0] and not word.startswith("~")]
    stores.run(words, [word for word in arguments if word not in words], own)


def images(overrides: list[str], own: dict[str, str]) -> None:
    """Build the images of the steps: all, or one."""
    from tapeline.commands import images

    images.run(own.get("image"), own.get("builder", ""), overrides)


def cluster(overrides: list[str], own: dict[str, str]) -> None:
    """The commands that make a cluster for the overlays."""
    from tapeline.commands import cluster as recipes

    recipes.make(_composed(overrides), own)


def cluster_down(overrides: list[str], own: dict[str, str]) -> None:
    """The commands that remove it."""
    from tapeline.commands import cluster as recipes

    _composed(overrides)
    recipes.remove(own)


def verify_cluster(overrides: list[str], own: dict[str, str]) -> None:
    """What an overlay put on a cluster trains, serves and keeps out."""
    from tapeline.commands import verify_cluster as verify

    if overrides:
        raise refuse(overrides[0], "is no key of verify-cluster", "it has namespace=NAME and template=NAME")
    verify.run(own)


RUN, WHY = "latest, or a folder's name in runs", "TEXT for the store's log"
RUN_KEYS = {"why": "true|false", "publish": "true|false", "files": "true|false", "built": "JSON"}
ENDED = ("name", "status", "duration", "failures", "metrics", "files")
IMAGES = {"image": "cpu|gpu|gpu-k80", "builder": "COMMAND, which gets CONTEXT -f FILE -t TAG"}
RUNS = {"compare": "RUN,RUN", "repeat": "RUN", "remove": "RUN,RUN", "keep": "N", "older": "30d", "yes": "true|false"}
SYNC = {"follow": "true|false", "seconds": "N"}
CLUSTER = {"provider": "kind|gke", "engine": "argo|kfp", "project": "ID", "zone": "NAME", "run": "true|false"}
VERBS: dict[str, Verb] = {
    "run": Verb("the whole pipeline, on this machine; files=true: its files in base64, too", RUN_KEYS, run),
    "explore": Verb("the data before any training, as an HTML file", {}, explore),
    "serve": Verb("serve the store over TF Serving's gRPC and REST API, until Ctrl-C", {}, serve),
    "predict": Verb(
        "ask a server; without date, random or rows: about the latest day",
        {"date": "YYYY-MM-DD", "random": "true|false", "rows": "FILE.csv"}
        | {"host": "HOST[:PORT]", "api": "rest|grpc", "version": "N"},
        predict,
    ),
    "sweep": Verb("a run for each combination: model=flat,deep; never publishes", {"name": "NAME"}, sweep),
    "runs": Verb("list past runs, compare, repeat or remove some", RUNS, runs),
    "build": Verb("write the graph for a cluster: target=argo, target=kfp or target=tfjob", {}, build),
    "check": Verb("verify options, graph, emitted YAML, images and the Kustomize tree, offline", {}, check),
    "workflows": Verb("write the shipped experiments in workflows/ anew", {}, workflows),
    "submit": Verb(
        "run it on a cluster: target=argo, target=kfp or target=tfjob; run=NAME follows one that was begun",
        {"apply": "true|false", "run": "NAME"},
        submit,
    ),
    "publish": Verb("make an accepted run's model live", {"run": RUN, "why": WHY}, publish),
    "canary": Verb(
        "serve a run's model, or a version, beside the live one", {"run": RUN, "version": "N", "why": WHY}, canary
    ),
    "promote": Verb("make the canary, or a version, the live one", {"version": "N", "why": WHY}, promote),
    "rollback": Verb("make the version live again that was live before", {"why": WHY}, rollback),
    "versions": Verb("list the versions under serving.name", {}, versions),
    "step": Verb("steps of it: NAME[,NAME] --in ARTIFACT=PATH --out ARTIFACT=PATH", {}, step, plain=False),
    "summary": Verb(
        "how a run on a cluster ended, or files of it in base64, as its pods say it",
        dict.fromkeys(ENDED, "TEXT"),
        summary,
    ),
    "store": Verb("init [PLACE]: an empty store; sync URL DIR: mirror one into a folder", SYNC, store, plain=False),
    "images": Verb("build the images that steps run in", IMAGES, images),
    "cluster": Verb("the commands that make a cluster for the overlays; run=true runs them", CLUSTER, cluster),
    "cluster-down": Verb("the commands that remove it", CLUSTER, cluster_down),
    "verify-cluster": Verb(
        "after kubectl apply -k: train there, ask the server, knock as a stranger",
        {"namespace": "NAME", "template": "NAME"},
        verify_cluster,
    ),
    "config": Verb("print the configuration that overrides make", {}, config),
}
