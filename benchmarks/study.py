"""Statements that a shared study sends to its database for each trial: python -m benchmarks study"""

from __future__ import annotations

import os
import tempfile
from contextlib import chdir

TRIALS = (8, 24)
"""Of two searches: their difference leaves out what is sent once."""
LINE = ("run", "model=lightgbm", "model.steps=20", "tune=optuna", "tune.storage=sqlite:///study.db", "publish=false")


def main() -> None:
    """Print the statements of a trial, by their first word."""
    few, many = (statements(trials) for trials in TRIALS)
    added = {word: (many[word] - few.get(word, 0)) / (TRIALS[1] - TRIALS[0]) for word in sorted(many)}
    print(f"  statements of a trial: {sum(added.values()):.0f}")
    print("    " + ", ".join(f"{word} {count:.1f}" for word, count in added.items() if count))


def statements(trials: int) -> dict[str, int]:
    """How many a search sends, by their first word."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    from tapeline.cli import main as cli

    found: dict[str, int] = {}

    def seen(_connection: object, _cursor: object, text: str, *_: object) -> None:
        word = text.split()[0].upper()
        found[word] = found.get(word, 0) + 1

    os.environ["TAPELINE_LOCAL"] = "false"
    event.listen(Engine, "before_cursor_execute", seen)
    try:
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            assert cli.main([*LINE, f"tune.trials={trials}"]) == 0
    finally:
        event.remove(Engine, "before_cursor_execute", seen)
    return found


if __name__ == "__main__":
    main()
