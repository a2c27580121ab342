"""Reads what is no section."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reads:
    modle: str
