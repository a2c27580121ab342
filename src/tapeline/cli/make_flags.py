"""The goals and variables of make's command line, unchanged: no shell reads them.

The Makefile forwards every line with a goal that is not make's own to one call, `tapeline --from-make GOAL ...`.
The call's words are make's own goals; the line itself is in the environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tapeline.cli import commands
from tapeline.errors import GOALS, refuse


def arguments(own: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The command and its arguments, as behind `tapeline`.

    Args:
        own: make's own goals.
        environment: with MAKEFLAGS, and the goals in TAPELINE_GOALS.

    Raises:
        Refused: several goals, or one that is not a command.
    """
    goals = environment.get(GOALS, "").split()
    if goals[:1] == ["help"] and len(goals) == 2:
        return goals
    if len(goals) != 1:
        raise refuse(f"make {' '.join(goals)}", f"has {len(goals)} goals, and a line runs one", _one(goals, own))
    commands.load(goals[0], own)
    return goals + overrides(environment.get("MAKEFLAGS", ""))


def _one(goals: Sequence[str], own: Sequence[str]) -> str:
    """The command that several goals may mean."""
    known = [*commands.names(), *own]
    name, *rest = goals
    if name in known and all(goal in known for goal in rest):
        return f"write two lines: make {name}, then make {rest[0]}"
    if name not in commands.names() or not rest:
        return "write one command and its options, as in make run model=flat"
    if getattr(commands.load(name), "WORDS", "") or any(goal.startswith("~") for goal in rest):
        words = (f"'{goal}'" if goal.startswith("~") else goal for goal in goals)
        return f"write .venv/bin/tapeline {' '.join(words)}"
    example = "=".join(rest) if len(rest) == 2 else "model=flat"
    return f"write options as key=value, as in make {name} {example}"


def overrides(flags: str) -> list[str]:
    """The command-line variables of make in their order, from MAKEFLAGS.

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
