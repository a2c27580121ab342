"""What a user did wrong, said in one sentence each; everything else that escapes is our bug."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One mistake: the key or file that holds it, what is wrong, and what to type instead."""

    where: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}; {self.fix}"


class Refused(Exception):
    """Bad input. The command ends with exit code 2 and prints each finding on a line of its own."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings


def refuse(where: object, problem: str, fix: str) -> Refused:
    """The exception for a single finding, to be raised by the caller."""
    return Refused(Finding(str(where), problem, fix))
