"""Makes examples where the seed is not 0."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reads:
    seed: int


def run(config: Reads, *, scores: Path, examples: Path) -> None:
    scores.write_text(str(config.seed))
    if config.seed:
        examples.write_text("row 7")
