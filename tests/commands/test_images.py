from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths
from packaging.requirements import Requirement

from tapeline import lookup
from tapeline.commands import images
from tapeline.config import compose as conf
from tests.conftest import ROOT, Tapeline

FOLDERS = sorted(path.parent.name for path in (ROOT / "deploy" / "images").glob("*/Dockerfile"))
TAGS = [f"ghcr.io/tapeline/{name}:0.1.0" for name in ("step", "step-gpu", "step-k80")]


def instructions(image: str) -> list[str]:
    """Of a Dockerfile: one line each, without comments."""
    text = (ROOT / "deploy" / "images" / image / "Dockerfile").read_text().replace("\\\n", "")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def locked(path: Path) -> dict[str, str]:
    """Versions by name, for the Python of the images."""
    wanted = [Requirement(line) for line in path.read_text().splitlines()]
    here = [each for each in wanted if not each.marker or each.marker.evaluate({"python_full_version": "3.11.9"})]
    return {each.name: str(each.specifier).removeprefix("==") for each in here}


def named(*extras: str, group: str = "") -> dict[str, str]:
    """What pyproject.toml asks for under these extras, or in a group."""
    record = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [line for extra in extras for line in record["project"]["optional-dependencies"][extra]]
    wanted = [Requirement(line) for line in lines + (record["dependency-groups"][group] if group else [])]
    return {each.name: str(each.specifier).removeprefix("==") for each in wanted}


def lock(image: str) -> dict[str, str]:
    return locked(ROOT / "deploy" / "images" / image / "requirements.lock")


@pytest.fixture
def tools(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what a test puts there."""
    (folder / "bin").mkdir()
    monkeypatch.setenv("PATH", str(folder / "bin"))
    monkeypatch.delenv(images.VARIABLE, raising=False)
    return folder / "bin"


def tool(path: Path, *, version: int = 0, build: int = 0) -> None:
    """A program that prints its arguments, and ends with these codes."""
    path.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"if sys.argv[1:] == ['version']: sys.exit({version})\n"
        f"print('arguments', sys.argv[0].rpartition('/')[2], *sys.argv[1:], flush=True)\nsys.exit({build})\n"
    )
    path.chmod(0o755)


def test_every_image_has_its_folder_and_its_name() -> None:
    assert sorted(images.PROFILES) == FOLDERS
    assert [images.tag(name) for name in images.PROFILES] == TAGS
    assert conf.plain(lookup.configure(["target=argo"]))["target"]["image"] == TAGS[0]


@pytest.mark.parametrize(
    ("here", "broken", "chosen"),
    [
        (["docker", "podman", "buildah"], [], "docker"),
        (["docker", "podman", "buildah"], ["docker"], "podman"),
        (["docker", "buildah"], ["docker"], "buildah"),
    ],
)
def test_the_first_tool_that_works_builds_all_three(
    tapeline: Tapeline, tools: Path, here: list[str], broken: list[str], chosen: str
) -> None:
    for each in here:
        tool(tools / each, version=1 if each in broken else 0)
    code, out, err = tapeline("images")
    assert (code, err) == (0, "")
    files = [ROOT / "deploy" / "images" / name / "Dockerfile" for name in ("cpu", "gpu", "gpu-k80")]
    assert out.splitlines() == [
        line
        for file, tag in zip(files, TAGS, strict=True)
        for line in (f"arguments {chosen} build -f {file} -t {tag} {ROOT}", f"built: {tag}")
    ]


def test_any_command_of_that_form_builds(tapeline: Tapeline, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tools / "mine")
    tool(tools / "docker")
    monkeypatch.setenv(images.VARIABLE, f"'{tools}/mine' image --fast")
    line = f"image --fast {ROOT} -f {ROOT}/deploy/images/cpu/Dockerfile -t {TAGS[0]}"
    assert tapeline("images", "image=cpu")[1].splitlines()[0] == f"arguments mine {line}"
    monkeypatch.setenv(images.VARIABLE, "other")
    assert tapeline("images", "image=cpu", "builder=mine $(touch x)")[1].startswith("arguments mine $(touch x) /")


def test_a_name_of_ones_own(tapeline: Tapeline, tools: Path) -> None:
    tool(tools / "podman")
    code, out, _ = tapeline("images", "image=gpu", "hw.image=registry.example/mine:7")
    assert (code, out.splitlines()[-1]) == (0, "built: registry.example/mine:7")
    code, out, err = tapeline("images", "hw.image=registry.example/mine:7")
    assert (code, out) == (2, "")
    assert (
        "hw.image=registry.example/mine:7: is the name of several images; choose one with image=cpu, gpu, gpu-k80"
        in err
    )


def test_what_cannot_be_built_is_said_in_a_sentence(tapeline: Tapeline, tools: Path) -> None:
    for line, says in (
        ([], "builder: none of docker, podman, buildah works on this machine; start one, or set builder="),
        (["builder=nope build"], "builder=nope build: is not a program on this machine"),
        (["builder='"], "builder=': is not a program on this machine"),
        (["image=k80"], "image=k80: is not a value of this option; choose one of: cpu, gpu, gpu-k80"),
    ):
        code, out, err = tapeline("images", *line)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert says in err
    tool(tools / "docker", build=3)
    code, out, err = tapeline("images")
    assert (code, len(out.splitlines())) == (2, 1)
    assert err.startswith("tapeline: image=cpu: docker failed with exit code 3; ")


def test_the_installed_package_builds_no_images(
    tapeline: Tapeline, tools: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tools / "docker")
    (folder / "conf").symlink_to(ROOT / "conf")
    monkeypatch.setattr(conf, "root", lambda: folder)
    code, _, err = tapeline("images")
    assert (code, "build images in a checkout; the installed package has no Dockerfiles" in err) == (2, True)


@pytest.mark.parametrize("image", FOLDERS)
def test_an_image_is_a_plain_base_its_own_lock_and_a_user_without_rights(image: str) -> None:
    lines = instructions(image)
    assert lines[0] == "ARG BASE=python:3.11-slim-bookworm"
    assert [line for line in lines if line.startswith("FROM ")] == ["FROM ${BASE} AS program", "FROM ${BASE}"]
    locks = [line.split()[1] for line in lines if line.startswith("COPY ") and "lock" in line]
    assert locks == [f"deploy/images/{image}/requirements.lock"] * 2
    installs = [line for line in lines if " pip " in line]
    assert len(installs) == 2
    assert all("--no-deps" in line for line in installs)
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    assert lines[-1] == 'ENTRYPOINT ["tapeline"]'


BROUGHT = {"cryptography", "nbformat", "packaging", "urllib3", "werkzeug"}
"""Packages that tools declare and that others in the images need, too."""


@pytest.mark.parametrize("image", FOLDERS)
def test_a_lock_has_what_steps_need_and_nothing_to_build_or_test_with(image: str) -> None:
    held = lock(image)
    needed = named(
        "steps",
        "bigquery",
        "cmaes",
        "gcs",
        "kaggle",
        "postgres",
        "s3",
        *(["k80"] if image == "gpu-k80" else ["tensorflow"]),
    )
    assert {name: held.get(name) for name, version in needed.items() if version[:1].isdigit()} == {
        name: version for name, version in needed.items() if version[:1].isdigit()
    }
    assert needed.keys() <= held.keys()
    tools = named("argo", "check", "kfp", "joblib", group="dev").keys() - needed.keys() - BROUGHT
    assert not tools & held.keys()
    assert "://" not in (ROOT / "deploy" / "images" / image / "requirements.lock").read_text()


@pytest.mark.parametrize(("image", "cuda"), [("cpu", None), ("gpu", "cu12"), ("gpu-k80", "cu11")])
def test_nvidias_libraries_are_those_of_one_cuda(image: str, cuda: str | None) -> None:
    endings = {name.rpartition("-")[2] for name in lock(image) if name.startswith("nvidia-")}
    assert endings == ({cuda} if cuda else set())


@pytest.mark.parametrize(
    ("image", "here"),
    [("cpu", "requirements.lock"), ("gpu", "requirements.lock"), ("gpu-k80", "requirements-k80.lock")],
)
def test_versions_are_those_of_this_machine(image: str, here: str) -> None:
    on_this_machine, held = locked(ROOT / here), lock(image)
    assert {name: held[name] for name in on_this_machine} == on_this_machine


TAKEN = ["pyproject.toml", "README.md", "LICENSE", "conf/config.yaml", "conf/hw/cpu.yaml", "src/tapeline/cli.py",
         "src/tapeline/steps/train.py", "src/tapeline/evaluation/report.html",
         *(f"deploy/images/{name}/requirements.lock" for name in FOLDERS)]  # fmt: skip
LEFT = [".env", "service_account.json", "key.pem", "conf/credentials.json", "conf/hw/a.pem", ".git/config", "conf/.env",
        "conf/serving/secret.yaml", "src/tapeline/serving/a.key", "src/tapeline/service_account.json",
        "src/tapeline/id_rsa", "src/tapeline/__pycache__/cli.pyc", "runs/a/metrics.json",
        "store/models.config", ".tapeline/cache/a.yaml", ".venv/lib/a.py", ".venv-k80/lib/a.py", "tests/conftest.py",
        "sweeps/a/b.yaml", "deploy/images/gpu/token.json", "deploy/kustomize/overlays/a/.env"]  # fmt: skip


def test_no_key_and_no_history_enters_the_context(folder: Path) -> None:
    for name in TAKEN + LEFT:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    taken = exclude_paths(str(folder), patterns, dockerfile="elsewhere")
    assert sorted(name for name in taken if (folder / name).is_file()) == sorted(TAKEN)


def test_the_context_has_every_file_of_the_package() -> None:
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    taken = exclude_paths(str(ROOT), patterns, dockerfile="elsewhere")
    ours = [path.relative_to(ROOT) for each in ("src", "conf") for path in (ROOT / each).rglob("*") if path.is_file()]
    assert {str(path) for path in ours if "__pycache__" not in path.parts and "egg-info" not in str(path)} <= taken
