"""Reads what is not a section."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reads:
    modle: str
