"""Run folders as they lie there: whole, unfinished, at work, or damaged."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tapeline import files
from tapeline.config.overrides import section_of
from tapeline.config.schema import Config, Serving
from tapeline.errors import Refused, nearest, program, refuse
from tapeline.evaluation import metrics_file
from tapeline.evaluation.comparison import Tested
from tapeline.lookup import metric
from tapeline.pipeline.graph import METRICS as SUMMARY
from tapeline.pipeline.graph import PREDICTIONS, SCORES, SERVABLE
from tapeline.tables import predictions as forecasts
from tapeline.tasks import Metric, interval, value

TIMED = re.compile(r"\d{8}-\d{6}_")
"""Begins the name of a run."""
CONFIG, RECORD = "config.yaml", "run.json"


@dataclass(frozen=True)
class Run:
    """One run's folder."""

    folder: Path

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.folder.name

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """metrics.json; empty where it cannot be read, or has not what every one has."""
        try:
            record = metrics_file.current(_read(self.folder / SUMMARY.file))
        except (AttributeError, KeyError, TypeError, ValueError):
            return {}
        return record if _is_whole(record) else {}

    @cached_property
    def record(self) -> dict[str, Any]:
        """run.json; empty where it cannot be read."""
        return _read(self.folder / RECORD)

    @cached_property
    def tested(self) -> Tested:
        """What its test left, for comparisons."""
        predictions = None
        with suppress(OSError, ValueError, KeyError):
            predictions = forecasts.read(self.folder / PREDICTIONS.file)
        seconds = _read(self.folder / SCORES.file).get("horizon")
        horizon = timedelta(seconds=seconds) if isinstance(seconds, int | float) else None
        return Tested(self.metrics["ran"]["task"], self.metrics["test"]["overall"], predictions, horizon)

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.yaml.

        Raises:
            Refused: it cannot be read.
        """
        try:
            answer = yaml.safe_load((self.folder / CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            answer = None
        if not isinstance(answer, dict):
            raise refuse(self.folder / CONFIG, "cannot be read", "choose another run, or remove this one")
        return answer

    @cached_property
    def started(self) -> datetime:
        """By run.json or the folder's name, else when the folder was last changed."""
        answer = self.record.get("started"), f"{self.name[:8]}T{self.name[9:15]}+00:00"
        for text in answer:
            try:
                found = datetime.fromisoformat(str(text))
            except ValueError:
                continue
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        return datetime.fromtimestamp(self.folder.stat().st_mtime, UTC)

    @cached_property
    def at_work(self) -> bool:
        """Whether a process is, or may be."""
        if not (self.folder / RECORD).exists():
            return files.in_use(self.folder)
        # the folder is owned before run.json is there
        return self.record.get("state") == "running" and files.is_owned(self.folder)

    @property
    def finished(self) -> bool:
        """Whether it came to its end; runs of older versions have no state, and wrote run.json last."""
        return bool(self.record) and self.record.get("state", "finished") == "finished"

    @property
    def problem(self) -> str:
        """What is wrong with it; empty where nothing is."""
        if self.at_work:
            return "running"
        if not (self.folder / RECORD).exists() or (self.record and not self.finished):
            return "stopped"
        damaged = [name for name, content in ((RECORD, self.record), (SUMMARY.file, self.metrics)) if not content]
        return f"damaged: {' and '.join(damaged)} cannot be read" if damaged else ""

    @property
    def decision(self) -> str:
        """Of the gate."""
        return "accepted" if self.metrics["gate"]["accepted"] else "rejected"

    @cached_property
    def metric(self) -> Metric | None:
        """That the gate asked for; None where the run's dataset is no longer known."""
        try:
            return metric(self.metrics)
        except Refused:
            return None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of that metric on the test rows, where there is one."""
        found = interval(self.metrics["test"]["overall"], self.metric) if self.metric else None
        return (float(found["low"]), float(found["high"])) if found else None


def _read(path: Path) -> dict[str, Any]:
    try:
        answer = files.read_json(path)
    except (OSError, ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _is_whole(record: Mapping[str, Any]) -> bool:
    """Whether this has what every metrics.json has, as far as runs are listed by it."""
    try:
        test = record["test"]["overall"]
        value(test, record["config"]["gate"]["metric"])
        parts = (test, record["data"], record["ran"])
        return (
            all(float(each["low"]) <= float(each["high"]) for each in test["intervals"].values())
            and isinstance(record["config"]["dataset"]["name"], str)
            and all(isinstance(each, dict) for each in parts)
            and isinstance(record["gate"]["accepted"], bool)
            and all({"step", "score"} <= set(point) for point in record["train"]["trace"])
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def runs(folder: Path) -> list[Run]:
    """The runs in a folder, the newest first; other things that lie there are none."""
    try:
        inside = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    except FileNotFoundError:
        return []
    found = [Run(path) for path in inside if TIMED.match(path.name) or (path / CONFIG).is_file()]
    found = [run for run in found if not run.name.startswith(".")]
    return sorted(found, key=lambda run: (run.started, run.name), reverse=True)


def latest(folder: Path) -> str | None:
    """The name of the run that `latest` names."""
    try:
        return (folder / "latest").readlink().name
    except OSError:
        return None


def named(texts: str, folder: Path, key: str) -> list[Run]:
    """The runs that a person means by `a,b`, each once.

    Raises:
        Refused: there is no such run, or several.
    """
    known = runs(folder)
    return list(dict.fromkeys(_named(text.strip(), folder, known, key) for text in texts.split(",")))


def one(text: str, folder: Path, key: str) -> Run:
    """The run that a person means.

    Raises:
        Refused: there is no such run, or several.
    """
    return _named(text, folder, runs(folder), key)


def _named(text: str, folder: Path, known: Sequence[Run], key: str) -> Run:
    part = text.rstrip("/").rpartition("/")[2]
    wanted = latest(folder) if part == "latest" else part
    if not known:
        fix = f"make one: {program()} run, or name another folder with target.runs=DIR"
        raise refuse(f"{key}={text}", f"{folder} holds no runs", fix)
    exact = [run for run in known if run.name == wanted]
    fitting = exact or [run for run in known if wanted and wanted in run.name]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(run.name for run in fitting[:5]) + (", ..." if len(fitting) > 5 else "")
        raise refuse(f"{key}={text}", f"fits {len(fitting)} runs ({names})", "write more of the name")
    short = dict.fromkeys(TIMED.sub("", run.name) for run in known)
    fix = nearest(part, ["latest", *short, *(run.name for run in known)], otherwise="tapeline runs lists them")
    raise refuse(f"{key}={text}", f"no run in {folder} has this in its name", fix)


def accepted(name: str, config: Config) -> tuple[Path, Serving]:
    """The folder of a run whose model may be published, and its own serving.name in the store that is configured now.

    Raises:
        Refused: there is no such run, it did not finish, its files were changed, or its gate rejected the model.
    """
    run = one(name, Path(config.target.runs), "run")
    if not run.finished or not run.metrics:
        problem = f"{run.name} cannot be published: {run.problem}"
        raise refuse(f"run={name}", problem, "name one that finished; tapeline runs lists them")
    _check_unchanged(run)
    metrics = run.metrics
    if not metrics["gate"]["accepted"]:
        fix = "choose a run that it accepted; tapeline runs lists them, and report.html has the reasons"
        raise refuse(f"run={name}", f"the gate rejected the model of {run.name}", fix)
    return run.folder, config.serving.model_copy(update={"name": metrics["config"]["serving"]["name"]})


def _check_unchanged(run: Run) -> None:
    """Compare what the gate decided, and about what, with the digests in run.json; older runs may have none."""
    digests = run.record.get("digests")
    for artifact in (SUMMARY, SERVABLE):
        expected = digests.get(artifact.name) if isinstance(digests, dict) else None
        path = run.folder / artifact.file
        if not path.exists():
            raise refuse(path, "does not exist", "choose another run; tapeline runs lists them")
        if expected and files.digest_path(path) != expected:
            fix = "publish a run as it finished; make it again with: tapeline run"
            raise refuse(path, f"was changed after the run: {RECORD} has another digest of it", fix)


def check_name(overrides: Sequence[str], config: Config, name: str) -> None:
    """Check that overrides which set serving.name mean the name that a run's model has.

    Raises:
        Refused: they mean another one.
    """
    typed = [text for text in overrides if section_of(text) in ("dataset", "experiment") or "serving.name" in text]
    if typed and config.serving.name != name:
        problem = f"means the model {config.serving.name}, but the model of this run is served as {name}"
        raise refuse(" ".join(typed), problem, f"leave it out, or run again with serving.name={config.serving.name}")


def decision(metrics: Mapping[str, Any]) -> str:
    """The gate's, with its reasons."""
    gate = metrics["gate"]
    return f"{'accepted' if gate['accepted'] else 'rejected'}: {'; '.join(gate['reasons'])}"
