"""Dockerfiles of deploy/images: pinned, without root and without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tapeline.checks.registry import rules
from tapeline.checks.restricted import SECRET, SHELLS
from tapeline.checks.syntax import mutable_image
from tapeline.config.secrets import KEYS
from tapeline.errors import Finding

KEPT_OUT = ("kfp", "kfp-kubernetes", "hera", "hera-workflows")
"""Only `build` and `submit` need them."""
SECRET_FILES = re.compile(
    r"(?i)(^|/)(\.env|id_rsa|kubeconfig|kaggle\.json|.*credentials.*|service_account.*|.*\.(pem|key|p12))$"
)


@dataclass(frozen=True)
class Line:
    """An instruction with its number in the file."""

    number: int
    word: str
    rest: str


@dataclass(frozen=True)
class Image:
    """A Dockerfile."""

    file: str
    lines: tuple[Line, ...]

    def of(self, *words: str) -> list[Line]:
        """The instructions of these kinds."""
        return [line for line in self.lines if line.word in words]

    def wrong(self, line: Line, problem: str, fix: str) -> Finding:
        """A finding at an instruction."""
        return Finding(f"{self.file}: line {line.number}: {line.word}", problem, fix)


Rule = Callable[[Image], Iterable[Finding]]


def parse(text: str, file: str) -> Image:
    """The instructions of a Dockerfile, continued lines joined."""
    lines, joined, number = [], "", 0
    for at, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or not (line.strip() or joined):
            continue
        number = number if joined else at
        joined += line.strip()
        if joined.endswith("\\"):
            joined = joined[:-1] + " "
            continue
        word, _, rest = joined.partition(" ")
        lines.append(Line(number, word.upper(), rest.strip()))
        joined = ""
    return Image(file, tuple(lines))


def bases_are_fixed(image: Image) -> Iterator[Finding]:
    """Base images are pinned."""
    arguments = dict(line.rest.split("=", 1) for line in image.of("ARG") if "=" in line.rest)
    stages: list[str] = []
    for line in image.of("FROM"):
        base, *more = [word for word in line.rest.split() if not word.startswith("--")]
        full = re.sub(r"\$\{?(\w+)\}?", lambda found: arguments.get(found[1], ""), base)
        if full not in stages and full != "scratch" and (why := mutable_image(full)):
            yield image.wrong(line, f"{full or base} {why}", "use a version, for example python:3.11-slim-bookworm")
        stages += more[1:2]


def user_is_not_root(image: Image) -> Iterator[Finding]:
    """The user is a number, so that the kubelet knows that it is not root."""
    last = image.of("FROM")[-1:]
    users = [line for line in image.of("USER") if line.number > last[0].number] if last else []
    if not users:
        for line in last:
            yield image.wrong(line, "the image runs as root", "add USER 10001:10001 below")
    for line in users[-1:]:
        name = line.rest.partition(":")[0]
        if not name.isdecimal() or int(name) == 0:
            yield image.wrong(
                line, f"{name} is or may be root", "write another user as a number, for example 10001:10001"
            )


def nothing_is_downloaded_unchecked(image: Image) -> Iterator[Finding]:
    """No ADD, which downloads and unpacks, and no downloaded script."""
    for line in image.of("ADD"):
        yield image.wrong(line, "may download or unpack files", "use COPY")
    for line in image.of("RUN"):
        if re.search(r"\b(curl|wget)\b[^|;&]*\|\s*(sudo\s+)?(ba|da|z)?sh\b", line.rest):
            yield image.wrong(line, "runs a script that it downloads", "copy the file, or check its digest")


def packages_are_pinned(image: Image) -> Iterator[Finding]:
    """Pip installs from a lock file, or this project."""
    for line in image.of("RUN"):
        for command in re.findall(r"pip3?(?:\s+--?[\w-]+(?:[= ]\S+)?)*?\s+install\s+([^;&|]*)", line.rest):
            words = command.split()
            plain = [
                word
                for before, word in zip(["", *words], words, strict=False)
                if not word.startswith("-") and before not in ("-r", "-c", "--root", "--prefix", "--target", "-e")
            ]
            loose = [word for word in plain if "==" not in word and not re.match(r"[./]|\S+\.whl", word)]
            if loose:
                yield image.wrong(
                    line, f"installs {', '.join(loose)} without a fixed version", "use -r with a lock file"
                )


def nothing_is_installed_at_run_time(image: Image) -> Iterator[Finding]:
    """The image starts a program given as a list, and installs nothing when it starts."""
    for line in image.of("ENTRYPOINT", "CMD"):
        try:
            words = [str(word) for word in json.loads(line.rest)]
        except ValueError:
            yield image.wrong(line, "is interpreted by a shell", 'write a list, for example ["tapeline"]')
            continue
        if words[:1] and words[0].rpartition("/")[2] in (*SHELLS, "pip", "uv", "apt-get"):
            yield image.wrong(line, f"starts {words[0]}", 'write the program as a list, for example ["tapeline"]')
    if not image.of("ENTRYPOINT", "CMD"):
        for line in image.of("FROM")[-1:]:
            yield image.wrong(line, "the image has no program to start", 'add ENTRYPOINT ["tapeline"]')


def no_secret_goes_in(image: Image) -> Iterator[Finding]:
    """No secret is in a layer, which everyone who pulls the image can read."""
    for line in image.of("ENV", "ARG"):
        for name, value in re.findall(r"(\w+)=(\S*)", line.rest) or [(line.rest, "")]:
            if SECRET.search(name) and (value or line.word == "ARG"):
                yield image.wrong(line, f"{name} stays in the image", "pass it to the container from a Secret")
    for line in image.of("COPY", "ADD"):
        for name in line.rest.split():
            if SECRET_FILES.search(name):
                yield image.wrong(line, f"{name} stays in the image", "pass it to the container from a Secret")
    for line in image.lines:
        for pattern, what in KEYS:
            if pattern.search(line.rest):
                yield image.wrong(line, f"contains {what}", "revoke it, and pass it to the container from a Secret")


def copied_files_are_listed(image: Image) -> Iterator[Finding]:
    """COPY lists files and folders, so that no other file gets into the image."""
    for line in image.of("COPY"):
        words = [word for word in line.rest.split() if not word.startswith("--")]
        if words[:1] in (["."], ["./"]) and "--from" not in line.rest:
            yield image.wrong(line, "copies everything", "list the files and folders")


ABOUT = "image"
RULES: tuple[Rule, ...] = (
    bases_are_fixed,
    user_is_not_root,
    nothing_is_downloaded_unchecked,
    packages_are_pinned,
    nothing_is_installed_at_run_time,
    no_secret_goes_in,
    copied_files_are_listed,
)


def locks_have_only_needed_packages(path: Path, shown: str) -> Iterator[Finding]:
    """A lock file pins each version, and has no package that only `build` needs."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        name = re.split(r"[=<>\[; ]", line.strip())[0].lower()
        if name in KEPT_OUT:
            fix = "remove it: only make build needs it"
            yield Finding(f"{shown}: line {number}", f"{name} is in the image of the steps", fix)
        elif name and not name.startswith(("#", "-")) and "==" not in line and " @ " not in line:
            yield Finding(f"{shown}: line {number}", f"{line.strip()} is not pinned", "write one version with ==")


def images(root: Path, shown: str) -> Iterator[Finding]:
    """All rules over the Dockerfiles and lock files of a folder."""
    for path in sorted(root.glob("*/Dockerfile")):
        image = parse(path.read_text(), f"{shown}/{path.relative_to(root).as_posix()}")
        yield from (finding for rule in rules("image") for finding in rule(image))
    for path in sorted(root.glob("*/*.lock")):
        yield from locks_have_only_needed_packages(path, f"{shown}/{path.relative_to(root).as_posix()}")
