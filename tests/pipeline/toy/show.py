"""Shows the examples, where there are some."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reads:
    pass


def run(config: Reads, *, scores: Path, examples: Path | None, page: Path) -> None:
    page.write_text(f"{scores.read_text()}: {examples.read_text() if examples else 'no examples'}")
