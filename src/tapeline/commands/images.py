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

from tapeline.commands import Option
from tapeline.errors import refuse

GROUP = "clusters"
HELP = "build the images that the steps run in"
OPTIONS = (
    Option("image", "cpu|gpu|gpu-k80", "one image only", "all"),
    Option(
        "builder", "COMMAND", "the program that builds; it gets CONTEXT -f FILE -t TAG", "docker, podman or buildah"
    ),
)
READS = ("hw",)
EXAMPLES = (
    ("tapeline images", "builds all images of deploy/images, under the names that conf/hw gives them"),
    (
        "tapeline images image=cpu builder='podman build --pull=never' hw.image=example/cpu:7",
        "builds one as example/cpu:7",
    ),
)
PROFILES = {"cpu": "cpu", "gpu": "gpu-t4", "gpu-k80": "gpu"}
"""By folder of deploy/images: a profile of conf/hw that uses its image."""

TOOLS = ("docker", "podman", "buildah")
VARIABLE = "TAPELINE_IMAGE_BUILDER"


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Build images, one after the other, and print their names.

    Raises:
        Refused: nothing here builds images, a build fails, or this is not a checkout.
    """
    names = [options["image"]] if "image" in options else list(PROFILES)
    tags = {name: tag(name, overrides) for name in names}
    if len(set(tags.values())) < len(tags):
        fix = f"choose one with image={', '.join(PROFILES)}"
        raise refuse(f"hw.image={tags['cpu']}", "is the name of several images", fix)
    for name, image in tags.items():
        build(name, image, options.get("builder", ""))
        print(f"built: {image}", flush=True)


def tag(name: str, overrides: Sequence[str] = ()) -> str:
    """The name of an image in the configuration."""
    from tapeline.lookup import configure

    return configure([*overrides, f"hw={PROFILES[name]}"]).hw.image


def build(name: str, tag: str, builder: str = "") -> None:
    """Build one image; the tool itself prints its progress.

    Raises:
        Refused: as `run`.
    """
    from tapeline.config.compose import root

    file = root() / "deploy" / "images" / name / "Dockerfile"
    if not file.is_file():
        raise refuse(file, "no such file", "build images in a checkout; the installed package has no Dockerfiles")
    words = command(builder, root(), file, tag)
    if code := subprocess.run(words, check=False).returncode:
        raise refuse(f"image={name}", f"{Path(words[0]).name} failed with exit code {code}", "look at its output above")


def command(builder: str, context: Path, file: Path, tag: str) -> list[str]:
    """The command that builds an image.

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
    fix = f"start one, or set builder='...' or {VARIABLE} to a command that takes CONTEXT -f FILE -t TAG"
    raise refuse("builder", f"none of {', '.join(TOOLS)} works on this machine", fix)


def _words(builder: str) -> list[str]:
    try:
        words = shlex.split(builder)
    except ValueError:
        words = []
    if not words or not shutil.which(words[0]):
        raise refuse(
            f"builder={builder}", "is not a program on this machine", "write a program and its first arguments"
        )
    return words
