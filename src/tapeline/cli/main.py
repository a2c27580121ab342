"""The command line: `tapeline COMMAND key=value ...`, or `make COMMAND key=value ...`, which passes it unchanged.

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
from tapeline.errors import Finding, Refused, of_system, refuse

PYTHONS = ((3, 11), (3, 14))
"""The first Python, and the first that is too new: TensorFlow 2.20 has wheels for 3.11 to 3.13."""
EXTRAS = {
    "argo": ("hera",),
    "kfp": ("kfp", "kfp_server_api", "kubernetes"),
    "check": ("kubernetes_validate",),
    "tensorflow": ("tensorflow", "tensorflow_serving"),
    "s3": ("s3fs",),
    "gcs": ("gcsfs",),
    "joblib": ("hydra_plugins",),
    "steps": ("aiohttp", "grpc", "jinja2", "lightgbm", "matplotlib", "polars", "prometheus_client", "scipy", "sklearn"),
}
"""The packages of each extra of pyproject.toml, by the names with which they are imported."""
HELP = ("--help", "-h", "help")
"""Arguments that print help; the last one only in the first place."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 2 if it was refused with a sentence for each mistake.

    240: it lost a process or pod beside it, and the same command may succeed.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        check_python(sys.version_info[:2])
        _dispatch(given)
        sys.stdout.flush()
    except Refused as error:
        findings = dict.fromkeys(map(str, error.findings))
        print(*(f"tapeline: {commands.as_typed(each)}" for each in findings), sep="\n", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("tapeline: stopped; the next run goes on from the last finished step", file=sys.stderr)
        return 130
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        finding = _of_machine(error)
        if not finding:
            raise
        print(f"tapeline: {finding}", file=sys.stderr)
        return 2
    return 0


def _of_machine(error: Exception) -> Finding | None:
    """The finding for an error of this machine or its installation; None for another, which is a bug of ours."""
    if isinstance(error, MemoryError):
        fix = "use a machine with more memory, or less data"
        return Finding("memory", "the memory of this machine is used up", fix)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] != "tapeline":
        return Finding(
            str(error.name), "this package is not installed", f"install it: {_installed_by(str(error.name))}"
        )
    if isinstance(error, OSError) and error.errno:
        return of_system(error)
    # Polars raises no OSError, and gives the operating system's number in the text
    found = re.search(r"\(os error (\d+)\)", str(error))
    return of_system(OSError(int(found[1]), os.strerror(int(found[1])), "writing")) if found else None


def _installed_by(module: str) -> str:
    """The command that installs a package: with the extra of tapeline that has it, if one has."""
    top = module.partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if top in modules), None)
    return f"pip install 'tapeline[{extra}]'" if extra else f"pip install {top}"


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
