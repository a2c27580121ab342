"""tapeline: from ticker tape to served model.

Every option is a `key=value`: a Hydra override of the configuration in conf/, or one of the verb's
own keys. `make VERB key=value ...` passes them on unchanged.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from tapeline import __version__
from tapeline.cli.verbs import VERBS
from tapeline.errors import MACHINE, Finding, Refused, nearest, refuse

PYTHONS = ((3, 11), (3, 14))
"""From the first, below the second: TensorFlow 2.20 has wheels for 3.11 to 3.13."""


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
        own, overrides = split(name, rest)
        VERBS[name].function(overrides, own)
    else:
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
    """A verb's own keys, and what is left, for Hydra or for the verb to read.

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
            if VERBS[verb].plain and not equals and not text.startswith("~"):
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


if __name__ == "__main__":
    sys.exit(main())
