"""The lines that people give to make: real make with the project's Makefile reaches tapeline, or is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline.cli import commands, make_flags
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not here")
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), max_size=20)
TAPELINE = "import sys\nfrom tapeline.cli.main import main\nsys.exit(main())\n"
SPY = "import os, sys\nprint(sys.argv[1:], os.environ['TAPELINE_GOALS'], os.environ['MAKEFLAGS'], sep='\\n')\n"


def as_make_writes(variables: list[str]) -> str:
    escape = {ord(" "): "\\ ", ord("\t"): "\\\t", ord("\\"): "\\\\", ord("$"): "$$"}
    return "s -- " + " ".join(each.translate(escape) for each in reversed(variables))


@given(st.lists(VALUES.map(lambda value: f"key={value}")))
def test_makeflags_are_read_back(variables: list[str]) -> None:
    assert make_flags.overrides(as_make_writes(variables)) == variables


def test_makeflags_without_variables() -> None:
    assert make_flags.overrides("") == make_flags.overrides("s -j2") == []


@pytest.fixture
def checkout(folder: Path) -> Path:
    """The Makefile beside an environment that is up to date, whose command is the one under test."""
    shutil.copy(ROOT / "Makefile", folder)
    (folder / ".venv" / "bin").mkdir(parents=True)
    for stamp in (
        "requirements.lock",
        "requirements-clusters.lock",
        "pyproject.toml",
        ".venv/.steps",
        ".venv/.clusters",
    ):
        (folder / stamp).touch()
    installed(folder, TAPELINE)
    return folder


def installed(folder: Path, script: str) -> None:
    binary = folder / ".venv" / "bin" / "tapeline"
    binary.write_text(f"#!{sys.executable}\n{script}")
    binary.chmod(0o755)


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    line = ["make", *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, env=environment)


def test_values_pass_through_make_unchanged(checkout: Path) -> None:
    trap = checkout / "trap"
    values = [
        "model=choice(flat,deep)",
        'dataset.path=my file\'s "closes"; touch trap $HOME `touch trap` $(shell touch trap) \\ |&<>*?#!~.csv',
        "+new.key=[1,2]",
        "as=with  two blanks\tand a tab ",
        "last=",
    ]
    installed(checkout, SPY)
    done = make(checkout, "run", *values)
    assert done.returncode == 0, done.stderr
    own, goals, flags = done.stdout.splitlines()
    assert own.startswith("['--from-make', 'help', ")
    assert goals == "run"
    assert make_flags.overrides(flags) == values
    assert not trap.exists()


def test_a_line_of_make_is_one_of_tapeline(checkout: Path) -> None:
    done = make(checkout, "config", "model=flat", "model.steps=7", "dataset.path=a b.csv")
    assert done.returncode == 0, done.stderr
    assert "steps: 7\n" in done.stdout
    assert "path: a b.csv\n" in done.stdout


MISTYPED = {
    "a second goal": (["run", "foo"], "make run foo: has 2 goals", "as in make run model=flat"),
    "blanks for =": (["run", "model", "flat"], "make run model flat: has 3 goals", "as in make run model=flat"),
    "a misspelt command": (["runx"], "runx: unknown command", "did you mean run"),
    "a misspelt goal of make": (["tset"], "tset: unknown command", "did you mean test?"),
    "a goal that is a file": (["conf"], "conf: unknown command", "did you mean config?"),
    "make's own goal and a command": (["clean", "run"], "make clean run: has 2 goals", "then make run"),
    "two commands, side by side": (["-j4", "run", "explore"], "has 2 goals", "make run, then make explore"),
    "a deletion": (["run", "~gate"], "has 2 goals", "write .venv/bin/tapeline run '~gate'"),
    "words of a command": (["store", "init", "x"], "has 3 goals", "write .venv/bin/tapeline store init x"),
    "shell words": (["run", "foo; touch trap $(shell touch trap) `touch trap`"], "goals", "model=flat"),
    "rules": (["run", "a:b", "%", "x;touch trap"], "goals", "model=flat"),
}


@pytest.mark.parametrize(("line", "problem", "fix"), MISTYPED.values(), ids=MISTYPED.keys())
def test_a_mistyped_line_is_refused_before_anything_starts(
    checkout: Path, line: list[str], problem: str, fix: str
) -> None:
    (checkout / "conf").mkdir()
    before = sorted(checkout.rglob("*"))
    done = make(checkout, *line)
    assert done.returncode == 2
    said = [each for each in done.stderr.splitlines() if not each.startswith("make: ***")]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("tapeline: ")
    assert problem in said[0]
    assert fix in said[0]
    assert done.stdout == ""
    assert sorted(checkout.rglob("*")) == before


@pytest.mark.parametrize("line", [["runx"], ["run", "foo"], ["run", "model", "flat"], ["help", "rnu"]], ids=str)
def test_a_mistyped_line_makes_no_environment(checkout: Path, line: list[str]) -> None:
    (checkout / "src").symlink_to(ROOT / "src")
    shutil.rmtree(checkout / ".venv")
    done = make(checkout, *line)
    assert done.returncode == 2
    assert f"tapeline: make {' '.join(line)}: is not one command" in done.stderr
    assert not (checkout / ".venv").exists()


def test_messages_name_commands_as_they_were_typed(checkout: Path) -> None:
    done = make(checkout, "publish", "run=nope")
    assert done.returncode == 2
    assert "make one: make run, or name" in done.stderr
    assert "tapeline run" not in done.stderr
    assert "; make run makes one" in make(checkout, "runs").stdout


def test_a_file_with_the_name_of_a_command_hides_nothing(checkout: Path) -> None:
    for name in ("config", "run", "forward"):
        (checkout / name).mkdir()
    assert "family: deep" in make(checkout, "config").stdout


def test_help_of_make_needs_no_environment_and_lists_all(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    (checkout / "src").symlink_to(ROOT / "src")
    for words in ([], ["help"]):
        done = make(checkout, *words)
        assert (done.returncode, done.stderr) == (0, "")
        listed = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith("  make ")}
        heads = [line for line in done.stdout.splitlines() if line and not line.startswith(" ")]
        assert heads[:-1] == [*commands.GROUPS, "test and develop"]
        assert {*commands.names(), "test", "lint", "clean"} <= set(listed)
        for name in commands.names():
            assert listed[name].endswith(commands.load(name).HELP)


def test_help_of_make_explains_a_command(checkout: Path) -> None:
    done = make(checkout, "help", "runs")
    assert done.returncode == 0, done.stderr
    assert done.stdout == commands.explain("runs").replace("tapeline ", "make ") + "\n"


@pytest.mark.parametrize("goal", ["run", "build", "workflows", "check", "submit", "cache"])
def test_each_command_makes_the_environment_that_it_needs(checkout: Path, goal: str) -> None:
    (checkout / "src").symlink_to(ROOT / "src")
    shutil.rmtree(checkout / ".venv")
    done = make(checkout, "-n", goal)
    assert done.returncode == 0, done.stderr
    assert "touch .venv/.steps" in done.stdout
    assert ("touch .venv/.clusters" in done.stdout) == (goal not in ("run", "cache"))
    assert "touch .venv/.dev" not in done.stdout
    assert "GB" in done.stdout, "the size is said beforehand"


PYTHON = """#!/bin/sh
echo "python $*" >> log
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  "-m pip config list") printf '%s\\n' "$CONFIGURED" ;;
  "-m pip install --quiet uv"*)
    printf '#!/bin/sh\\necho "uv $*" >> log; exit $UV_FAILS\\n' > .venv/bin/uv; chmod +x .venv/bin/uv ;;
esac
"""
"""A Python that makes environments of itself, and writes down its calls."""


@pytest.mark.parametrize(
    ("key", "fails", "installers"),
    [
        ("", 0, ["uv"]),
        ("global.timeout", 0, ["uv"]),
        ("", 1, ["uv", "python"]),
        ("global.no-index", 0, ["python"]),
        (":env:.proxy", 0, ["python"]),
    ],
    ids=["uv", "configuration without an index", "uv fails", "an index", "a proxy"],
)
def test_packages_come_by_uv_or_as_pips_configuration_says(
    checkout: Path, key: str, fails: int, installers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(checkout / ".venv")
    python = checkout / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    monkeypatch.setenv("CONFIGURED", f"{key}='given'" if key else "")
    monkeypatch.setenv("UV_FAILS", str(fails))
    done = make(checkout, ".venv/.steps", f"PYTHONS={python}")
    assert done.returncode == 0, done.stderr
    calls = (checkout / "log").read_text().splitlines()
    locked = [call.split()[0] for call in calls if call.endswith("-r requirements.lock")]
    own = [call.split()[0] for call in calls if call.endswith("--no-deps -e .")]
    assert (locked, own) == (installers, installers[-1:])
    assert (checkout / ".venv" / ".steps").exists()
