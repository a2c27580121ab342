"""tapeline: from ticker tape to served model.

Every option is a `key=value`: a Hydra override of the configuration in conf/, or one of the verb's
own keys. `make VERB key=value ...` passes them on unchanged.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tapeline import __version__
from tapeline.errors import Finding, Refused, refuse

if TYPE_CHECKING:
    from tapeline.config import Config

PYTHONS = ((3, 11), (3, 14))
"""From the first, below the second: TensorFlow 2.20 has wheels for 3.11 to 3.13."""


@dataclass(frozen=True)
class Verb:
    """A word after `tapeline`."""

    does: str
    keys: Mapping[str, str]
    """Its own keys and what they may be, as "true|false" or any text; the rest goes to Hydra."""
    function: Callable[[list[str], dict[str, str]], None]
    plain: bool = True
    """Takes key=value only."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; 0 where it did its work, 2 where it was refused with a sentence for each mistake."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        check_python(sys.version_info[:2])
        _dispatch(given)
        sys.stdout.flush()
    except Refused as error:
        print(*(f"tapeline: {finding}" for finding in error.findings), sep="\n", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno == errno.EPIPE:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        if error.errno not in MACHINE:
            raise
        print(f"tapeline: {Finding(str(error.filename or 'writing'), *MACHINE[error.errno])}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tapeline: stopped; the next run goes on from the last finished step", file=sys.stderr)
        return 130
    return 0


_ROOM = "free some, or choose other folders with target.cache, target.runs and serving.store"
_ACCESS = "mend its permissions, or choose another with target.cache, target.runs or serving.store"
MACHINE = {
    errno.ENOSPC: ("no space is left on the device", _ROOM),
    errno.EDQUOT: ("the quota of disk space is used up", _ROOM),
    errno.EFBIG: ("the file would be larger than is allowed here", _ROOM),
    errno.EACCES: ("access is denied", _ACCESS),
    errno.EPERM: ("access is denied", _ACCESS),
    errno.ENOENT: ("cannot be found or made", "choose another folder"),
    errno.EROFS: ("the file system is read-only", _ACCESS),
    errno.ENOTDIR: ("a part of this path is a file", "choose another folder"),
    errno.EEXIST: ("something else has this name", "move it away, or choose another folder"),
    errno.EISDIR: ("is a folder where a file should be", "move it away, or choose another"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.EMFILE: ("too many files are open", "raise the limit with ulimit -n"),
}
"""What a machine can refuse, and what its owner can do."""


def check_python(version: tuple[int, ...]) -> None:
    """Refuse a Python for which the pinned packages do not install."""
    if not PYTHONS[0] <= tuple(version) < PYTHONS[1]:
        name = ".".join(map(str, version))
        raise refuse(f"Python {name}", "TensorFlow 2.20 has no packages for it", "use Python 3.11, 3.12 or 3.13")


def _dispatch(given: list[str]) -> None:
    if given[:1] == ["--from-make"]:
        given = given[1:] + overrides_of_make(os.environ.get("MAKEFLAGS", ""))
    name, *rest = given or ["--help"]
    if name in ("--help", "-h", "help"):
        print(usage())
    elif name == "--version":
        print(__version__)
    elif name in VERBS:
        own, overrides = split(name, rest) if VERBS[name].plain else ({}, rest)
        VERBS[name].function(overrides, own)
    else:
        from tapeline.errors import nearest

        raise refuse(name, "unknown verb", nearest(name, list(VERBS), otherwise="see tapeline --help"))


def overrides_of_make(flags: str) -> list[str]:
    """The command-line variables of make in the order typed, from MAKEFLAGS.

    make puts them behind ` -- `, the last one first, with blanks and backslashes escaped and `$` doubled.
    """
    _, mark, variables = f" {flags}".partition(" -- ")
    words, word, escaped = [], "", False
    for character in variables if mark else "":
        if escaped or character not in "\\ ":
            word, escaped = word + character, False
        elif character == "\\":
            escaped = True
        elif word:
            words.append(word)
            word = ""
    words += [word] if word else []
    return [each.replace("$$", "$") for each in reversed(words)]


def split(verb: str, arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """A verb's own keys, and what is left for Hydra.

    Raises:
        Refused: something is no key=value, or an own key has a value it cannot have.
    """
    own: dict[str, str] = {}
    rest: list[str] = []
    findings = []
    for text in arguments:
        key, equals, value = text.partition("=")
        choices = VERBS[verb].keys.get(key)
        if choices is None:
            if not equals and not text.startswith("~"):
                findings.append(Finding(text, "is no key=value", "write as in model=deep"))
            rest.append(text)
        elif "|" in choices and value not in choices.split("|"):
            findings.append(Finding(text, f"{key} cannot be that", f"choose one of: {choices.replace('|', ', ')}"))
        else:
            own[key] = value
    if findings:
        raise Refused(*findings)
    return own, rest


def usage() -> str:
    """What `tapeline --help` prints."""
    lines = [__doc__ or "", "usage: tapeline VERB [key=value ...]", ""]
    for name, verb in VERBS.items():
        lines.append(f"  {name:8} {verb.does}")
        lines += [f"  {'':8}   {key}={values}" for key, values in verb.keys.items()]
    return "\n".join(lines)


def run(overrides: list[str], own: dict[str, str]) -> None:
    """The whole pipeline, on this machine."""
    from tapeline.checks import before_run
    from tapeline.targets import local, outcome

    config = _composed(overrides)
    before_run(config)
    folder = local.run(config, why=own.get("why") == "true", publish=own.get("publish") != "false")
    if own.get("files") == "true":
        print(*outcome.pack(folder / made.file for made in outcome.FETCHED), sep="\n")


def sweep(overrides: list[str], own: dict[str, str]) -> None:
    """One run for each combination of the values given, and a leaderboard."""
    from tapeline.checks import before_run
    from tapeline.targets import sweep

    sweep.run(overrides, name=own.get("name"), check=before_run)


def build(overrides: list[str], own: dict[str, str]) -> None:
    """Write the graph in a cluster's words."""
    from tapeline.checks import before_build, before_write
    from tapeline.targets import build

    config = _composed(overrides)
    before_build(config)
    texts = build.emit(config, overrides)
    before_write(config, texts)
    for path in build.write(config, texts):
        print(path)


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
    from tapeline.targets import workflows

    if overrides:
        raise refuse(overrides[0], "is no key of workflows", "leave it out, or use build")
    print(f"{len(workflows.write())} files in workflows/")


def submit(overrides: list[str], own: dict[str, str]) -> None:
    """A run on a cluster, followed and fetched."""
    from tapeline.checks import before_build
    from tapeline.targets import submit

    submit.run(overrides, own, before_build)


def publish(overrides: list[str], own: dict[str, str]) -> None:
    """Make an accepted run's model live."""
    from tapeline.targets import releases

    print(releases.publish(own.get("run", "latest"), _composed(overrides), own.get("why", "")))


def canary(overrides: list[str], own: dict[str, str]) -> None:
    """Serve an accepted run's model, or a version, beside the live one."""
    from tapeline.targets import releases

    config = _composed(overrides)
    print(releases.canary(own.get("run", "latest"), _number(own), config, own.get("why", "")))


def promote(overrides: list[str], own: dict[str, str]) -> None:
    """Make the canary, or a version, the live one."""
    from tapeline.serving.stores import verbs

    serving = _composed(overrides).serving
    print(verbs.promote(_number(own), serving.store, serving, own.get("why", "")))


def rollback(overrides: list[str], own: dict[str, str]) -> None:
    """Make the version live again that was live before."""
    from tapeline.serving.stores import verbs

    serving = _composed(overrides).serving
    print(verbs.rollback(serving.store, serving, own.get("why", "")))


def versions(overrides: list[str], own: dict[str, str]) -> None:
    """List the versions under a name."""
    from tapeline.targets import releases

    releases.show(_composed(overrides).serving)


def _composed(overrides: list[str]) -> Config:
    from tapeline.config import compose

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
    from tapeline.serving.servers import container, server
    from tapeline.targets.console import logged

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
    from tapeline.targets.predict import run

    run(_composed(overrides), own, _number(own))


def config(overrides: list[str], own: dict[str, str]) -> None:
    """Print the composed configuration."""
    import yaml

    from tapeline.config import plain

    print(yaml.safe_dump(plain(_composed(overrides)), sort_keys=False, allow_unicode=True), end="")


def step(arguments: list[str], own: dict[str, str]) -> None:
    """Steps as a program: NAME[,NAME] key=value ... --in ARTIFACT=PATH --out ARTIFACT=PATH."""
    from tapeline.checks import before_build
    from tapeline.graph import PIPELINE
    from tapeline.targets import kfp_output, program
    from tapeline.targets.plan import SUBMITTED, plain

    name, paths, overrides = "", {"--in": {}, "--out": {}}, []  # type: str, dict[str, dict[str, Path]], list[str]
    launched = None
    check: Callable[[str], str] = str
    words = iter(arguments)
    for word in words:
        if word == "--executor-input":
            launched = kfp_output.Launched.read(next(words, ""))
        elif word in paths:
            artifact, equals, path = next(words, "").partition("=")
            if not (equals and path):
                raise refuse(f"{word} {artifact}", "names no artifact and path", f"write {word} table=table.parquet")
            paths[word][artifact] = Path(path)
        elif word == SUBMITTED:
            check = plain
        elif "=" in word or word.startswith("~"):
            overrides.append(check(word))
        elif name:
            raise refuse(word, "is no key=value", "write as in model=deep")
        else:
            name = word
    these = program.steps(name)
    composed = _composed(overrides)
    if PIPELINE[0] in these:
        # the first step answers for the whole configuration; others see a part of it
        before_build(composed)
    program.run(these, composed, paths["--in"], paths["--out"])
    if launched:
        launched.tell(paths["--out"])


def summary(overrides: list[str], own: dict[str, str]) -> None:
    """How a run on a cluster ended, for its last pod."""
    from tapeline.targets import outcome

    lines = outcome.pack(map(Path, own["files"].split(","))) if "files" in own else [outcome.summary(own)]
    print(*lines, sep="\n")


def store(arguments: list[str], own: dict[str, str]) -> None:
    """The store itself: init [PLACE] key=value ..., or sync URL DIR follow=true seconds=10."""
    from tapeline.targets import stores

    words = [word for word in arguments if "=" not in word.partition("://")[0] and not word.startswith("~")]
    own, overrides = split("store", [word for word in arguments if word not in words])
    stores.run(words, overrides, own)


def images(overrides: list[str], own: dict[str, str]) -> None:
    """Build the images of the steps: all, or one."""
    from tapeline.targets import images

    images.run(own.get("image"), own.get("builder", ""), overrides)


def cluster(overrides: list[str], own: dict[str, str]) -> None:
    """The commands that make a cluster for the overlays."""
    from tapeline.targets import recipes

    recipes.make(_composed(overrides), own)


def cluster_down(overrides: list[str], own: dict[str, str]) -> None:
    """The commands that remove it."""
    from tapeline.targets import recipes

    _composed(overrides)
    recipes.remove(own)


def verify_cluster(overrides: list[str], own: dict[str, str]) -> None:
    """What an overlay put on a cluster trains, serves and keeps out."""
    from tapeline.targets import verify

    if overrides:
        raise refuse(overrides[0], "is no key of verify-cluster", "it has namespace=NAME and template=NAME")
    verify.run(own)


RUN, WHY = "latest, or a folder's name in runs", "TEXT for the store's log"
RUN_KEYS = {"why": "true|false", "publish": "true|false", "files": "true|false"}
ENDED = ("name", "status", "duration", "failures", "metrics", "files")
IMAGES = {"image": "cpu|gpu|gpu-k80", "builder": "COMMAND, which gets CONTEXT -f FILE -t TAG"}
SYNC = {"follow": "true|false", "seconds": "N"}
CLUSTER = {"provider": "kind|gke", "engine": "argo|kfp", "project": "ID", "zone": "NAME", "run": "true|false"}
VERBS: dict[str, Verb] = {
    "run": Verb("the whole pipeline, on this machine; files=true: its files in base64, too", RUN_KEYS, run),
    "serve": Verb("serve the store over TF Serving's gRPC and REST API, until Ctrl-C", {}, serve),
    "predict": Verb(
        "ask a server; without date, random or rows: about the latest day",
        {"date": "YYYY-MM-DD", "random": "true|false", "rows": "FILE.csv"}
        | {"host": "HOST[:PORT]", "api": "rest|grpc", "version": "N"},
        predict,
    ),
    "sweep": Verb("a run for each combination: model=flat,deep; never publishes", {"name": "NAME"}, sweep),
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

if __name__ == "__main__":
    sys.exit(main())
