"""Help: each command says what it does, its options, and lines that work."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tapeline.cli import commands
from tapeline.config import compose as conf
from tapeline.config.overrides import parse
from tapeline.lookup import configure
from tests.conftest import Tapeline

HEAVY = {"tensorflow", "polars", "hydra", "lightgbm", "kfp", "hera", "pandas", "matplotlib", "sklearn", "pydantic"}


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"], []])
def test_help_groups_all_commands(tapeline: Tapeline, arguments: list[str]) -> None:
    code, out, err = tapeline(*arguments)
    assert (code, err) == (0, "")
    lines = [each.strip() for each in out.splitlines()]
    assert [lines.index(group) for group in commands.GROUPS] == sorted(lines.index(group) for group in commands.GROUPS)
    for name in commands.names():
        (line,) = [each for each in lines if each.startswith(f"{name:15} ")]
        assert line.split(maxsplit=1)[1] == commands.load(name).HELP


@pytest.mark.parametrize("name", commands.names())
def test_each_command_explains_itself(tapeline: Tapeline, folder: Path, name: str) -> None:
    command = commands.load(name)
    code, out, err = tapeline(name, "--help")
    assert (code, err) == (0, "")
    assert tapeline(name, "model=flat", "-h") == tapeline("help", name) == (0, out, "")
    assert list(folder.iterdir()) == []
    assert f"usage: tapeline {name}" in out
    for option in command.OPTIONS:
        assert option.name in out
        assert option.meaning.split()[-1] in out
        assert option.default in " ".join(out.split())
    assert len(command.EXAMPLES) >= 2
    for line, does in command.EXAMPLES:
        assert line in out
        assert does in " ".join(out.split())


@pytest.mark.parametrize("name", commands.names())
def test_no_help_spills_over_its_line(name: str) -> None:
    command = commands.load(name)
    assert "\n" not in command.HELP
    assert max(map(len, commands.explain(name).splitlines())) <= 130
    assert getattr(command, "GROUP", commands.GROUPS[-1]) in commands.GROUPS
    assert len({option.name for option in command.OPTIONS}) == len(command.OPTIONS)


EXAMPLES = [(name, line) for name in commands.names() for line, _ in commands.load(name).EXAMPLES]


@pytest.mark.parametrize(("name", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_each_example_is_a_line_that_works(name: str, line: str, folder: Path) -> None:
    """Its keys are options of the command, or keys of the configuration with values that validate."""
    program, first, *words = shlex.split(line)
    assert (program, first) in {("tapeline", name), ("make", name)}
    command = commands.load(name)
    overrides, _ = commands.split(name, command, words)
    if name == "step":
        from tapeline.clusters.step_arguments import read

        overrides = list(read(overrides).overrides)
    if name == "store":
        overrides = [word for word in overrides if "=" in word]
    if name == "sweep":
        conf.for_hydra(parse(overrides), sweep=True)
        overrides = [word.partition(",")[0] for word in overrides]
    configure(overrides)


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from tapeline.cli.main import main\n"
        "from tapeline.cli.commands import names\n"
        "assert not any(main(line) for line in (['--help'], *([name, '--help'] for name in names())))\n"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
