"""A finished run in MLflow: its configuration, scores and training trace. tapeline run track=mlflow"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapeline import files
from tapeline.config import compose as conf
from tapeline.config.schema import Config, Track
from tapeline.console import LOG
from tapeline.errors import refuse
from tapeline.pipeline.cache import RECORD
from tapeline.pipeline.graph import METRICS
from tapeline.pipeline.tensorboard_events import scalars

if TYPE_CHECKING:
    from mlflow import MlflowClient

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing is sent but to `track.uri`
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
"""Variables that MLflow reads, where they are not set."""
AT_ONCE = 100
"""Parameters and metrics of one request; MLflow's limits are 100 and 1000."""


def write(folder: Path, config: Config, track: Track) -> None:
    """Add the run of a folder to its experiment, as a finished run with the folder's name.

    Raises:
        Refused: MLflow cannot write there; what MLflow has of the run then is marked as failed.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    logging.getLogger("alembic").setLevel(logging.WARNING)
    where = config.environment.get("track.uri", track.uri)
    experiment = track.experiment or config.serving.name
    try:
        number = _write(MlflowClient(track.uri), experiment, folder, config)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        sentence = " ".join(str(error).split("\n")[0].split())
        fix = f"correct it, as in track.uri=sqlite:///mlflow.db; the run itself is complete in {folder}"
        raise refuse(f"track.uri={where}", f"MLflow cannot write there ({sentence})", fix) from None
    LOG.info("mlflow: run %s of the experiment %s in %s", number, experiment, where)


def _write(client: MlflowClient, experiment: str, folder: Path, config: Config) -> str:
    from mlflow.entities import Metric, Param

    record, metrics = files.read_json(folder / RECORD), files.read_json(folder / METRICS.file)
    started = round(1000 * datetime.fromisoformat(record["started"]).timestamp())
    ended = started + round(1000 * record["seconds"])
    known = client.get_experiment_by_name(experiment)
    number = known.experiment_id if known else client.create_experiment(experiment)
    tags = dict(_tags(folder, record, metrics))
    run: str = client.create_run(number, start_time=started, tags=tags, run_name=folder.name).info.run_id
    state = "FAILED"
    try:
        for some in _parts(Param(key, value) for key, value in _parameters(config)):
            client.log_batch(run, params=some)
        for some in _parts(Metric(name, value, ended, step) for step, name, value in scalars(metrics)):
            client.log_batch(run, metrics=some)
        state = "FINISHED"
    finally:
        client.set_terminated(run, state, ended)
    return run


def _parts(items: Iterable[Any]) -> Iterator[list[Any]]:
    whole = list(items)
    yield from (whole[at : at + AT_ONCE] for at in range(0, len(whole), AT_ONCE))


def _parameters(config: Config) -> Iterator[tuple[str, str]]:
    """Each key of the configuration with its value as text, without paths, ports and what is of the environment."""
    for key, value in conf.flat(conf.plain(config, places=False)).items():
        yield key, value if isinstance(value, str) else json.dumps(value)


def _tags(folder: Path, record: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "tapeline.folder", str(folder.absolute())
    yield "tapeline.decision", "accepted" if metrics["gate"]["accepted"] else "rejected"
    yield "tapeline.simulated", json.dumps(metrics["data"]["simulated"])
    yield "tapeline.model_version", metrics["model_version"]
    if record["published"]:
        yield "tapeline.published", record["published"]["sentence"]
