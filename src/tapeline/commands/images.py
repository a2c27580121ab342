"""The images that steps run in, built from deploy/images.

tapeline images        tapeline images image=cpu builder='podman build --pull=never'
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tapeline.config import compose as conf
from tapeline.errors import refuse
from tapeline.lookup import configure as compose

PROFILES = {"cpu": "cpu", "gpu": "gpu-t4", "gpu-k80": "gpu"}
"""Folders of deploy/images, and for each a profile of conf/hw whose image it makes."""

TOOLS = ("docker", "podman", "buildah")
VARIABLE = "TAPELINE_IMAGE_BUILDER"


def run(name: str | None, builder: str, overrides: Sequence[str]) -> None:
    """Build images, one after the other, and say under which names.

    Args:
        name: a folder of deploy/images; None for all.
        builder: as `command` takes it.
        overrides: of the configuration, for a name of one's own: hw.image=...

    Raises:
        Refused: nothing here builds images, one fails, or this is no checkout.
    """
    tags = {each: tag(each, overrides) for each in ([name] if name else PROFILES)}
    if len(set(tags.values())) < len(tags):
        fix = f"choose one with image={', '.join(PROFILES)}"
        raise refuse(f"hw.image={tags['cpu']}", "is one name for several images", fix)
    for each, image in tags.items():
        build(each, image, builder)
        print(f"built: {image}", flush=True)


def tag(name: str, overrides: Sequence[str] = ()) -> str:
    """The name under which the configuration knows an image."""
    return compose([*overrides, f"hw={PROFILES[name]}"]).hw.image


def build(name: str, tag: str, builder: str = "") -> None:
    """Build one image; the tool itself says how far it is.

    Raises:
        Refused: as `run`.
    """
    file = conf.root() / "deploy" / "images" / name / "Dockerfile"
    if not file.is_file():
        raise refuse(file, "no such file", "build images in a checkout; the installed package has no Dockerfiles")
    words = command(builder, conf.root(), file, tag)
    if code := subprocess.run(words, check=False).returncode:
        raise refuse(f"image={name}", f"{Path(words[0]).name} ended with {code}", "mend what it says above")


def command(builder: str, context: Path, file: Path, tag: str) -> list[str]:
    """The words that build an image.

    Args:
        builder: a command that takes `CONTEXT -f FILE -t TAG`; empty for TAPELINE_IMAGE_BUILDER's, or for a tool.

    Raises:
        Refused: there is none.
    """
    flags = ["-f", str(file), "-t", tag]
    if given := builder or os.environ.get(VARIABLE, ""):
        return [*_words(given), str(context), *flags]
    for tool in TOOLS:
        # a client may be here without its engine; and buildah wants the context last
        if shutil.which(tool) and not subprocess.run([tool, "version"], capture_output=True, check=False).returncode:
            return [tool, "build", *flags, str(context)]
    fix = f"start one, or name a command that takes CONTEXT -f FILE -t TAG with builder='...' or {VARIABLE}"
    raise refuse("builder", f"none of {', '.join(TOOLS)} works here", fix)


def _words(builder: str) -> list[str]:
    try:
        words = shlex.split(builder)
    except ValueError:
        words = []
    if not words or not shutil.which(words[0]):
        raise refuse(f"builder={builder}", "is no command that is here", "write a program and its first arguments")
    return words
