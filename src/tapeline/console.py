"""Output of commands: tables, log lines, and on a terminal a progress bar for the running step.

Steps only write log records. A record with the attribute `progress`, a pair (done, total), moves the bar; with `label`
the bar has this text, else the name of the step; with `running`, a text, it shows what is going on until the next
line. Of records with the attribute `once` and the same text, only the first one in a command is shown.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tapeline.errors import printable
from tapeline.redaction import scrub

LOG = logging.getLogger("tapeline")

UNLIMITED = 100_000
"""Characters per line where the output is not a terminal: a file or a program needs one line per row."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; cells are plain text (no markup), and on a terminal long cells are wrapped."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(box=None, header_style="", pad_edge=False)
    for name in header:
        drawn.add_column(name, overflow="fold")
    for row in rows:
        drawn.add_row(*map(printable, row))
    width = None if sys.stdout.isatty() else UNLIMITED
    Console(markup=False, highlight=False, emoji=False, width=width).print(drawn)


@contextmanager
def logged(file: Path | None = None, *, shown: bool = True) -> Iterator[None]:
    """Write log records to standard output where `shown`, and append them to `file`.

    Where they are not shown, a terminal still shows the progress of what is running.
    """
    handlers: list[logging.Handler] = []
    if sys.stdout.isatty():
        handlers.append(_Terminal(lines=shown))
    elif shown:
        handlers.append(_Plain(sys.stdout))
    if file:
        handlers.append(_Plain(file.open("a", encoding="utf-8")))
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    for handler in handlers:
        handler.addFilter(_Once())
        LOG.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            LOG.removeHandler(handler)
            handler.close()


class _Once(logging.Filter):
    """Removes secrets from a record, and drops one that must be shown once, and was."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = set[str]()

    def filter(self, record: logging.LogRecord) -> bool:
        text = scrub(record.getMessage())
        record.msg, record.args = text, None
        if not getattr(record, "once", False):
            return True
        new = text not in self.shown
        self.shown.add(text)
        return new


def running(text: str) -> None:
    """Say on a terminal what is going on, until the next line."""
    LOG.info("", extra={"running": text})


class _Plain(logging.StreamHandler):  # type: ignore[type-arg]
    """One line per record; records without a message only move the progress bar and are left out."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage():
            super().emit(record)

    def close(self) -> None:
        if self.stream is not sys.stdout:
            self.stream.close()
        super().close()


class _Terminal(logging.Handler):
    """Lines, with `lines`, above a progress bar, which is shown while a step reports progress or is said to run."""

    def __init__(self, *, lines: bool) -> None:
        super().__init__()
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self.bar = Progress(*columns, transient=True)
        self.task: int | None = None
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() and self.task is not None and not hasattr(record, "progress"):
            self._stop()
        if record.getMessage() and self.lines:
            self.bar.console.print(record.getMessage(), markup=False, highlight=False, soft_wrap=True)
        if hasattr(record, "running"):
            self._stop()
            self.bar.start()
            self.task = self.bar.add_task(record.running, total=None)
        done, total = getattr(record, "progress", (None, None))
        if done is None or total is None:
            return
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task(record.name.rpartition(".")[2], total=total)
        label = getattr(record, "label", None)
        self.bar.update(self.task, completed=done, total=total, description=label)  # type: ignore[arg-type]
        if done >= total:
            self._stop()

    def _stop(self) -> None:
        if self.task is not None:
            self.bar.remove_task(self.task)  # type: ignore[arg-type]
            self.bar.stop()
            self.task = None

    def close(self) -> None:
        self._stop()
        super().close()
