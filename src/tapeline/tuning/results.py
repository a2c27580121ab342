"""What a search leaves: best.json, the values for training, and study.json, all trials."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tapeline import files
from tapeline.config.schema import Model, Split
from tapeline.errors import refuse
from tapeline.tables.table import open_table
from tapeline.tables.windows import count, rows_of
from tapeline.tuning import space
from tapeline.tuning.study import Study, Trial, importances
from tapeline.tuning.trials import Data, Problem

SCHEMA = 1
Stopped = Literal["trials", "timeout"]


@dataclass(frozen=True)
class Best:
    """What training takes of a search; without one, nothing."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Values by key, as model.learning_rate."""
    refit_steps: int | None = None
    """Train on train and validation rows with so many steps; None: as the split and the model ask."""

    def section(self, model: Model) -> Model:
        """The model's keys with these values."""
        if not self.overrides:
            return model
        changed = space.changed(model, self.overrides)
        return changed if self.refit_steps is None else changed.fixed(self.refit_steps)

    def split(self, split: Split) -> Split:
        """The split; without validation rows for a refit."""
        return split if self.refit_steps is None else split.model_copy(update={"validation": 0.0})

    def origin(self, model: Model) -> dict[str, str]:
        """Where the value of each key of the model comes from."""
        before, after = model.model_dump(mode="json"), self.section(model).model_dump(mode="json")
        searched = {key.removeprefix(space.PREFIX) for key in self.overrides}
        return {key: "tune" if key in searched or after[key] != before[key] else "configuration" for key in before}


def read_best(path: Path | None) -> Best:
    """The content of best.json; None stands for no search."""
    if path is None:
        return Best()
    record = files.read_json(path)
    return Best(record["overrides"], record["refit_steps"])


def write(
    problem: Problem, study: Study, data: Data, trials: Sequence[Trial], stopped: Stopped, best: Path, path: Path
) -> None:
    """Write best.json to `best` and study.json to `path`.

    Raises:
        Refused: no trial is complete.
    """
    found = study.best(trials)
    if found is None:
        raise _none_complete(problem, trials, stopped)
    refit = found.steps if problem.tune.refit else None
    files.write_json(best, {"schema": SCHEMA, "overrides": found.params, "refit_steps": refit, "trial": found.number})
    files.write_json(path, _record(problem, study, data, trials, found, stopped))


def _none_complete(problem: Problem, trials: Sequence[Trial], stopped: Stopped) -> Exception:
    if stopped == "timeout":
        where = f"tune.timeout_seconds={problem.tune.timeout_seconds:g}"
        return refuse(where, f"no trial was complete by then, of {problem.tune.trials}", "raise it")
    problems = Counter(each.problem for each in trials if each.problem).most_common(3)
    said = "; ".join(f"{number} trials: {text}" for text, number in problems)
    return refuse("tune=optuna", f"no trial of {len(trials)} is complete ({said})", "change the ranges of tune.space")


def _record(
    problem: Problem, study: Study, data: Data, trials: Sequence[Trial], best: Trial, stopped: Stopped
) -> dict[str, Any]:
    """No time and no place of a run stands in it, and nothing of rows that the search did not read."""
    tune, window, table = problem.tune, data.window, open_table(problem.table)
    sides = {side: sum(map(count, rows_of(window, table, side).values())) for side in ("train", "validation")}
    settings = {key: getattr(tune, key) for key in ("sampler", "pruner", "startup", "batch", "seed", "refit")}
    kept = problem.model.validation_share or getattr(problem.split, "validation", None)
    periods = window.record()
    return {
        "schema": SCHEMA,
        "metric": {key: getattr(study.metric, key) for key in ("name", "better", "form")},
        **settings,
        "workers": tune.storage is not None,
        "space": {key: each.model_dump(mode="json") for key, each in tune.space.items()},
        "rows": sides,
        "validation": {"chosen_by": "model or split" if kept else "search", "members": _short(periods, "validation")},
        "sample": {"block": tune.block, "members": _short(periods, "train")} if data.sampled else None,
        "stopped_by": stopped,
        "counts": {state: sum(each.state == state for each in trials) for state in ("complete", "pruned", "failed")},
        "best": {"trial": best.number, "value": best.value, "params": best.params, "steps": best.steps},
        "importances": importances(study, trials),
        "trials": [
            {
                "number": each.number,
                **{key: getattr(each, key) for key in ("state", "params", "value", "steps", "trace", "problem")},
            }
            for each in trials
        ],
    }


def _short(periods: Mapping[str, Any], side: str) -> Any:
    """Periods; rows or groups that were drawn are too many, and a digest stands for them."""
    return periods[side] if periods["by"] == "time" else files.digest(periods[side])


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """What metrics.json has of a study.json: all but trials and importances."""
    return {key: value for key, value in record.items() if key not in ("schema", "trials", "importances")}


def tuned(metrics: Mapping[str, Any]) -> str:
    """The values that a search found, in a few words, of a metrics.json; empty where there was none."""
    found = (metrics.get("tune") or {}).get("best", {}).get("params", {})
    return " ".join(f"{key.removeprefix(space.PREFIX)}={_shown(value)}" for key, value in found.items())


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, separators=(",", ":")).strip('"')
