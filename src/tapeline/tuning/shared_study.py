"""The rows of a study in a database: who works on which trial, and what came out."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tapeline.config.compose import flat
from tapeline.config.search import Tune
from tapeline.errors import refuse
from tapeline.tuning import study as studies
from tapeline.tuning.study import Proposal, Study, Trial
from tapeline.tuning.trials import Job

if TYPE_CHECKING:
    from sqlalchemy import Engine

SILENT = 3
"""Heartbeats that a worker may miss."""
RUNNING, WAITING = "running", "waiting"
TABLE = "digest of the table"
"""A key of a study's description."""


@dataclass
class Shared:
    """A worker's view of a study in a database."""

    engine: Engine
    name: str
    tune: Tune
    study: Study | None
    worker: str = field(default_factory=lambda: f"{platform.node()}-{os.getpid()}-{uuid4().hex[:8]}")
    _seen: dict[int, tuple[Any, float]] = field(default_factory=dict)
    """Of each running trial, the last sign of life and when it came, by this process's clock."""

    def join(self, description: Mapping[str, Any]) -> None:
        """Make tables and study where they are missing.

        Raises:
            Refused: there is another study of this name.
        """
        import sqlalchemy as sql

        both, _ = _tables()
        try:
            both.metadata.create_all(self.engine)
        except (sql.exc.IntegrityError, sql.exc.ProgrammingError, sql.exc.OperationalError):
            both.metadata.create_all(self.engine)  # another worker made them meanwhile
        try:
            with self.engine.begin() as connection:
                connection.execute(sql.insert(both).values(name=self.name, description=json.dumps(description)))
        except sql.exc.IntegrityError:
            self.compare(description)

    def compare(self, description: Mapping[str, Any]) -> None:
        """Refuse another study of this name; keys that `description` lacks are not compared."""
        import sqlalchemy as sql

        both, _ = _tables()
        if not sql.inspect(self.engine).has_table(both.name):
            return
        with self.engine.connect() as connection:
            found = connection.execute(sql.select(both.c.description).where(both.c.name == self.name)).scalar()
        if not found:
            return
        there, here = flat(json.loads(found)), flat(json.loads(json.dumps(description)))
        keys = [key for key in {**there, **here} if key in here or key != TABLE]
        other = [key for key in keys if there.get(key) != here.get(key)]
        if other:
            said = "; ".join(f"{key} is {there.get(key)} there and {here.get(key)} here" for key in other[:3])
            more = f"; and {len(other) - 3} more" if len(other) > 3 else ""
            problem = f"the database has another study of this name ({said}{more})"
            raise refuse(f"tune.study={self.name}", problem, "choose another name, or the settings of that study")

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Say that this worker lives, while the block runs; give back what it has claimed at the end."""
        import sqlalchemy as sql

        _, table = _tables()
        over = threading.Event()

        def beat() -> None:
            while not over.wait(self.tune.heartbeat_seconds):
                try:
                    with self.engine.begin() as connection:
                        mine = self._mine(table)
                        connection.execute(sql.update(table).where(mine).values(beat=table.c.beat + 1))
                except sql.exc.SQLAlchemyError:
                    continue  # the next one may come through; if none does, others take over

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.release()

    def _mine(self, table: Any) -> Any:
        return (table.c.study == self.name) & (table.c.worker == self.worker) & (table.c.state == RUNNING)

    def release(self) -> None:
        """Let others have what this worker has claimed and not finished."""
        import sqlalchemy as sql

        _, table = _tables()
        with self.engine.begin() as connection:
            connection.execute(sql.update(table).where(self._mine(table)).values(state=WAITING))

    def _rows(self) -> list[Any]:
        import sqlalchemy as sql

        _, table = _tables()
        chosen = sql.select(table).where(table.c.study == self.name, table.c.number < self.tune.trials)
        with self.engine.connect() as connection:
            return list(connection.execute(chosen.order_by(table.c.number)))

    def finished(self) -> dict[int, Trial]:
        """By number."""
        return {row.number: studies.read(json.loads(row.trial)) for row in self._rows() if row.trial is not None}

    def complete(self) -> bool:
        """Whether all trials are finished."""
        return len(self.finished()) == self.tune.trials

    def jobs(self) -> Iterator[Job]:
        """Claim one trial after the other, while there are some to claim."""
        while (job := self._claim()) is not None:
            yield job

    def _claim(self) -> Job | None:
        assert self.study is not None
        while True:
            rows = self._rows()
            done = {row.number: studies.read(json.loads(row.trial)) for row in rows if row.trial is not None}
            open_rows = {row.number: row for row in rows if row.trial is None}
            open_ones = {number: Proposal(**json.loads(row.proposal)) for number, row in open_rows.items()}
            free = next((row for row in open_rows.values() if self._is_free(row)), None)
            if free is not None:
                if not self._take_over(free):
                    continue
                own = open_ones.pop(free.number)
            elif len(rows) < self.tune.trials:
                number = len(rows)
                (own,) = studies.propose(self.study, list(done.values()), list(open_ones.values()), number, 1)
                if not self._insert(own):
                    continue
            else:
                return None
            return Job(own, tuple(studies.in_order(done)), tuple(open_ones[each] for each in sorted(open_ones)))

    def _is_free(self, row: Any) -> bool:
        if row.state == WAITING:
            return True
        sign = (row.worker, row.beat)
        known, since = self._seen.get(row.number, (None, 0.0))
        if known != sign:
            self._seen[row.number] = (sign, time.monotonic())
            return False
        return row.worker != self.worker and time.monotonic() - since > SILENT * self.tune.heartbeat_seconds

    def _take_over(self, row: Any) -> bool:
        """Claim a trial that nobody works on; False where another was first."""
        import sqlalchemy as sql

        _, table = _tables()
        same = (table.c.study == self.name) & (table.c.number == row.number) & (table.c.beat == row.beat)
        same &= (table.c.worker == row.worker) & (table.c.state == row.state)
        values = {"worker": self.worker, "beat": row.beat + 1, "state": RUNNING}
        with self.engine.begin() as connection:
            return bool(connection.execute(sql.update(table).where(same).values(**values)).rowcount)

    def _insert(self, own: Proposal) -> bool:
        """Claim a new trial; False where another has its number."""
        import sqlalchemy as sql

        _, table = _tables()
        proposal = json.dumps({"number": own.number, "drawn": own.drawn, "attributes": own.attributes})
        values = {"number": own.number, "worker": self.worker, "beat": 0, "state": RUNNING, "proposal": proposal}
        try:
            with self.engine.begin() as connection:
                connection.execute(sql.insert(table).values(study=self.name, **values))
        except sql.exc.IntegrityError:
            return False
        return True

    def finish(self, trial: Trial) -> bool:
        """Write a trial's result; False where another worker took it over meanwhile, whose result counts."""
        import sqlalchemy as sql

        _, table = _tables()
        values = {"state": trial.state, "trial": json.dumps(trial.record())}
        one = self._mine(table) & (table.c.number == trial.number)
        with self.engine.begin() as connection:
            return bool(connection.execute(sql.update(table).where(one).values(**values)).rowcount)


@cache
def _tables() -> tuple[Any, Any]:
    """The tables of studies and of trials."""
    import sqlalchemy as sql

    metadata, name = sql.MetaData(), sql.String(64)
    study = sql.Table(
        "tapeline_studies",
        metadata,
        sql.Column("name", name, primary_key=True),
        sql.Column("description", sql.Text, nullable=False),
    )
    trial = sql.Table(
        "tapeline_trials",
        metadata,
        sql.Column("study", name, primary_key=True),
        sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
        *(sql.Column(each, sql.String(128), nullable=False) for each in ("state", "worker")),
        sql.Column("beat", sql.Integer, nullable=False),
        sql.Column("proposal", sql.Text, nullable=False),
        sql.Column("trial", sql.Text),
    )
    return study, trial
