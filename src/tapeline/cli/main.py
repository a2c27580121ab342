"""The command line: `tapeline COMMAND key=value ...`, or `make COMMAND key=value ...`, which passes all on unchanged.

A key=value is one of the command's own options, or a Hydra override of the configuration in conf/.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Sequence

from tapeline import __version__
from tapeline.cli import commands, make_flags
from tapeline.errors import MACHINE, Finding, Refused, refuse

PYTHONS = ((3, 11), (3, 14))
"""From the first, below the second: TensorFlow 2.20 has wheels for 3.11 to 3.13."""
HELP = ("--help", "-h", "help")
"""What asks for help; the last one only as the first word."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 where it did its work, 2 where it was refused with a sentence for each mistake."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        check_python(sys.version_info[:2])
        _dispatch(given)
        sys.stdout.flush()
    except Refused as error:
        findings = dict.fromkeys(map(str, error.findings))
        print(*(f"tapeline: {commands.as_typed(each)}" for each in findings), sep="\n", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tapeline: stopped; the next run goes on from the last finished step", file=sys.stderr)
        return 130
    except Exception as error:
        number = _system_error(error)
        if number == errno.EPIPE:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        if number not in MACHINE:
            raise
        where = str(getattr(error, "filename", None) or "writing")
        print(f"tapeline: {Finding(where, *MACHINE[number])}", file=sys.stderr)
        return 2
    return 0


def _system_error(error: Exception) -> int | None:
    """The operating system's number of an error; Polars raises no OSError and gives it in the text."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def check_python(version: tuple[int, ...]) -> None:
    """Refuse a Python for which the pinned packages do not install."""
    if not PYTHONS[0] <= tuple(version) < PYTHONS[1]:
        name = ".".join(map(str, version))
        raise refuse(f"Python {name}", "TensorFlow 2.20 has no packages for it", "use Python 3.11, 3.12 or 3.13")


def _dispatch(given: list[str]) -> None:
    if given[:1] == ["--from-make"]:
        given = make_flags.arguments(given[1:], os.environ)
    name, *rest = given or ["--help"]
    if name in HELP:
        print(commands.as_typed(commands.explain(rest[0])) if rest else commands.usage())
    elif name == "--version":
        print(__version__)
    elif set(HELP[:2]) & set(rest):
        print(commands.as_typed(commands.explain(name)))
    else:
        command = commands.load(name)
        command.run(*commands.split(name, command, rest))


if __name__ == "__main__":
    sys.exit(main())
