"""A study that several workers share on one database: tune.storage=postgresql://user@host/database

Each trial is a row, which one worker claims; a worker says every `tune.heartbeat_seconds` that it lives. A claim whose
worker has been silent for three of these is free again, for the same trial. So exactly `tune.trials` trials finish,
none twice; what they try depends on the timing of the workers. SQLite serves workers on one machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tapeline import files
from tapeline.config.search import Tune
from tapeline.config.secrets import password
from tapeline.errors import choose, refuse
from tapeline.tables.table import open_table
from tapeline.tuning import study as studies
from tapeline.tuning.coordinator import Callback
from tapeline.tuning.results import Stopped
from tapeline.tuning.shared_study import SILENT, TABLE, Shared
from tapeline.tuning.study import Study, Trial
from tapeline.tuning.trials import Problem
from tapeline.tuning.workers import pool

if TYPE_CHECKING:
    from sqlalchemy import Engine

WAIT = 1.0
"""Seconds between two looks at the trials of other workers, at most."""
CONNECT_SECONDS = 15
PATIENCE = 30.0
"""Seconds in which a worker tries to connect: policies of a network may let a new pod through some seconds late."""
DRIVERS = {"postgresql": "tapeline[postgres]", "sqlite": "tapeline[steps]"}


def search(problem: Problem, study: Study, callback: Callback) -> tuple[list[Trial], Stopped]:
    """Work on a study until it has `tune.trials` finished trials; all of them, in order, and what ended the search.

    Raises:
        Refused: the database cannot be opened, or has a study of this name that is another one.
    """
    tune = problem.tune
    deadline = None if tune.timeout_seconds is None else time.monotonic() + tune.timeout_seconds
    with _refusing(tune, PATIENCE) as engine:
        description = describe(problem)
        shared = Shared(engine, tune.study or files.digest(description), tune, study)
        shared.join(description)
        with shared.alive(), pool(problem) as run:
            while not shared.complete() and (deadline is None or time.monotonic() < deadline):
                for trial in run(shared.jobs(), deadline):
                    if shared.finish(trial):
                        callback(trial, shared.finished())
                shared.release()
                if not shared.complete():
                    time.sleep(min(WAIT, tune.heartbeat_seconds / SILENT))
        found = studies.in_order(shared.finished())
        return found, "trials" if len(found) == tune.trials else "timeout"


def describe(problem: Problem, *, table: bool = True) -> dict[str, Any]:
    """All that decides the result of a trial; `table`: with the digest of the rows."""
    tune = problem.tune.model_dump(mode="json")
    own = ("metric", "sampler", "startup", "pruner", "seed", "rows", "block", "space")
    rows = {TABLE: open_table(problem.table).manifest.digest} if table else {}
    return {
        "tune": {key: tune[key] for key in own},
        "model": problem.model.model_dump(mode="json"),
        "split": problem.split.model_dump(mode="json"),
        "seed": problem.seed,
        "hw": {"threads": problem.hw.threads},
        **rows,
    }


def check(problem: Problem) -> None:
    """See, before anything starts, that the database answers and has no other study of this name.

    Raises:
        Refused: it does not, or has.
    """
    tune = problem.tune
    with _refusing(tune) as engine:
        if tune.study is not None:
            shared = Shared(engine, tune.study, tune, None)
            shared.compare(describe(problem, table=False))


@contextmanager
def _refusing(tune: Tune, patience: float = 0) -> Iterator[Engine]:
    """The database, once it answers; what it cannot do is refused, without the password."""
    import sqlalchemy as sql

    secret = password("tune", tune.password_env, tune.password_file)
    try:
        url = sql.make_url(tune.storage or "")
    except (sql.exc.ArgumentError, ValueError):
        fix = "write it as in postgresql://user@host/database"
        raise refuse("tune.storage", "is not a URL of a database", fix) from None
    kind = url.get_backend_name()
    if kind not in DRIVERS:
        raise refuse(f"tune.storage={kind}", "cannot hold a study", choose(kind, list(DRIVERS)))
    arguments = {"connect_timeout": CONNECT_SECONDS} if kind == "postgresql" else {"timeout": 60}
    url = url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url
    try:
        engine = sql.create_engine(
            url.set(password=secret) if secret else url,
            poolclass=sql.NullPool,
            hide_parameters=True,
            connect_args=arguments,
        )
        _wait(engine, patience)
        yield engine
    except (ImportError, sql.exc.NoSuchModuleError):
        where = f"tune.storage={url.drivername}"
        raise refuse(where, "its driver is not installed", f"install {DRIVERS[kind]}") from None
    except sql.exc.SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0].strip()
        said = said.replace(secret, "***") if secret else said
        fix = "check host, database, user and password"
        raise refuse("tune.storage", f"the database cannot be used ({said})", fix) from None


def _wait(engine: Engine, seconds: float) -> None:
    """Connect, after several tries if need be."""
    import sqlalchemy as sql

    end = time.monotonic() + seconds
    while True:
        try:
            engine.connect().close()
            return
        except sql.exc.OperationalError:
            if time.monotonic() >= end:
                raise
        time.sleep(WAIT)
