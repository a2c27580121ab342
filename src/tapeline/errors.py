"""What a user did wrong, said in one sentence each; everything else that escapes is our bug."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass

SECRETS = (
    re.compile(r"(?<=://)([^\s:/@]*:)\S+(?=@)"),
    re.compile(r"(?i)([?&][\w-]*(?:password|passwd|passcode|pwd|secret|token)[\w-]*=)[^\s&#]+"),
)
"""A password in a URL, before the host or as a parameter."""


def scrub(text: str) -> str:
    """The text with *** for every password in a URL."""
    for secret in SECRETS:
        text = secret.sub(r"\1***", text)
    return text


def printable(text: str) -> str:
    """The text in one line, with what a terminal would obey spelt out."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


@dataclass(frozen=True)
class Finding:
    """One mistake: the key or file that holds it, what is wrong, and what to type instead.

    As text it is one line, and shows no password of a URL.
    """

    where: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return printable(scrub(f"{self.where}: {self.problem}; {self.fix}"))


class Refused(Exception):
    """Bad input. The command ends with exit code 2 and prints each finding on a line of its own."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings


def refuse(where: object, problem: str, fix: str) -> Refused:
    """The exception for a single finding, to be raised by the caller."""
    return Refused(Finding(str(where), problem, fix))


def nearest(name: str, known: Sequence[str], *, otherwise: str) -> str:
    """The fix for a misspelt name: the known one that is nearest, or else another word of advice."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else otherwise


def choose(name: str, known: Sequence[str]) -> str:
    """The fix for a wrong choice: all that there are, and the nearest."""
    near = nearest(name, known, otherwise="")
    return f"choose one of: {', '.join(known)}" + (f" ({near})" if near else "")


_ROOM = "free some, or choose other folders with target.cache, target.runs and serving.store"
_ACCESS = "change its permissions, or choose another with target.cache, target.runs or serving.store"
MACHINE = {
    errno.ENOSPC: ("no space is left on the device", _ROOM),
    errno.EDQUOT: ("the quota of disk space is used up", _ROOM),
    errno.EFBIG: ("the file would be larger than is allowed here", _ROOM),
    errno.EACCES: ("access is denied", _ACCESS),
    errno.EPERM: ("access is denied", _ACCESS),
    errno.ENOENT: ("cannot be found or made", "choose another folder"),
    errno.EROFS: ("the file system is read-only", _ACCESS),
    errno.ENOTDIR: ("a part of this path is a file", "choose another folder"),
    errno.EEXIST: ("something else has this name", "move it away, or choose another folder"),
    errno.EISDIR: ("is a folder where a file should be", "move it away, or choose another"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.EMFILE: ("too many files are open", "raise the limit with ulimit -n"),
}
"""What a machine can refuse, and what its owner can do."""
