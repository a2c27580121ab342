"""Errors of the user: one sentence each, with the fix. Any other exception that ends a command is a bug."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass

from tapeline.redaction import scrub


def printable(text: str) -> str:
    """The text in one line, with control characters escaped, so that a terminal does not interpret them."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


@dataclass(frozen=True)
class Finding:
    """One mistake: the key or file, what is wrong, and what to do.

    As text it is one line, without secrets.
    """

    where: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return printable(scrub(f"{self.where}: {self.problem}; {self.fix}"))


class Refused(Exception):
    """The input is not valid. The command prints one line per finding and ends with exit code 2."""

    code = 2

    def __init__(self, *findings: Finding) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings


class Lost(Refused):
    """Another process or pod was lost, and the same command may succeed. Argo tries a step again that ends so."""

    code = 240


def refuse(where: object, problem: str, fix: str) -> Refused:
    """The exception for one finding; the caller raises it."""
    return Refused(Finding(str(where), problem, fix))


GOALS = "TAPELINE_GOALS"
"""The variable in which make hands over its goals as typed."""


def program() -> str:
    """What people type before a command: make, if this process was started by make, else tapeline."""
    return "make" if os.environ.get(GOALS) else "tapeline"


def nearest(name: str, known: Sequence[str], *, otherwise: str) -> str:
    """The fix for a name that is not known: the most similar known name, or else `otherwise`."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else otherwise


def choose(name: str, known: Sequence[str]) -> str:
    """The fix for a choice that does not exist: all choices, and the most similar one."""
    near = nearest(name, known, otherwise="")
    return f"choose one of: {', '.join(known)}" + (f" ({near})" if near else "")


_SPACE = "free some space, or choose other folders with target.cache, target.runs and serving.store"
_ACCESS = "change its permissions, or choose another folder with target.cache, target.runs or serving.store"
_DISK = "check the disk and the mount (dmesg), or choose another folder with target.cache, target.runs or serving.store"
_LOCAL = "choose folders on a local disk, for example target.cache=/var/tmp/cache serving.store=/var/tmp/store"
MACHINE = {
    errno.ENOSPC: ("no space is left on the device", _SPACE),
    errno.EDQUOT: ("the quota of disk space is used up", _SPACE),
    errno.EFBIG: ("the file would exceed the maximum file size", _SPACE),
    errno.EACCES: ("access is denied", _ACCESS),
    errno.EPERM: ("access is denied", _ACCESS),
    errno.ENOENT: ("does not exist and cannot be created", "choose another folder"),
    errno.EROFS: ("the file system is read-only", _ACCESS),
    errno.ENOTDIR: ("a part of this path is a file", "choose another folder"),
    errno.EEXIST: ("a file or folder with this name exists", "move it away, or choose another folder"),
    errno.EISDIR: ("is a folder, and a file is needed", "move it away, or choose another file"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.ELOOP: ("symbolic links refer to each other in a circle", "correct the link"),
    errno.EMFILE: ("too many files are open", "raise the limit, for example: ulimit -n 4096"),
    errno.ENFILE: ("too many files are open on this machine", "stop other programs, or raise fs.file-max"),
    errno.ENOMEM: ("memory is used up", "stop other programs, or use a machine with more memory"),
    errno.ENOLCK: ("the file system has no file locks", _LOCAL),
    errno.ENOSYS: ("the file system does not support this operation", _LOCAL),
    errno.EOPNOTSUPP: ("the file system does not support this operation", _LOCAL),
    errno.EIO: ("the disk reports an error", _DISK),
    errno.ESTALE: ("the network file system lost this file", _DISK),
    errno.ENOTCONN: ("the file system is no longer mounted", _DISK),
    errno.ETIMEDOUT: ("the network does not answer in time", "check the network, and run the command again"),
    errno.ETXTBSY: ("a program is using the file", "stop that program, and run the command again"),
    errno.EBUSY: ("another program is using it", "stop that program, and run the command again"),
}
"""By errno: what the operating system refused, and what the user can do."""


def of_system(error: OSError) -> Finding:
    """The finding for an error of the operating system."""
    where = str(error.filename or "the operating system")
    known = MACHINE.get(error.errno or 0)
    return Finding(where, *known) if known else Finding(where, f"reports an error ({error.strerror or error})", _DISK)
