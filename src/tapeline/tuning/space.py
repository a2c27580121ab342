"""The space of a search: its keys checked against the model, and values of what a sampler draws."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tapeline.config.schema import Model, Split
from tapeline.config.search import Dimension, Tune
from tapeline.errors import Finding, Refused, choose, nearest
from tapeline.tables.spec import Spec, parse_duration
from tapeline.tasks import Task

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

PREFIX = "model."
VALIDATION = 0.15
"""Share of the train times that are validation rows of the search, where neither model nor split keeps some."""
GRID = 10_000
"""Points of a grid, at most."""

Values = dict[str, Any]


def findings(tune: Tune, model: Model, split: Split, task: Task, spec: Spec) -> Iterator[Finding]:
    """What of a search cannot work, before anything starts."""
    known = [each.name for each in task.METRICS]
    if tune.metric not in known:
        yield Finding(f"tune.metric={tune.metric}", "is not a metric of this dataset", choose(tune.metric, known))
    if getattr(split, "validation", None) == 0:
        fix = "set split.validation=null or split.validation=0.15"
        yield Finding("split.validation=0", "leaves no validation rows, by which a search compares its trials", fix)
    if not tune.space:
        fix = "set it, as in tune.space='{model.learning_rate: {low: 1e-4, high: 1e-1, log: true}}'"
        yield Finding("tune.space", f"has no keys, and there are no ranges for model={model.family}", fix)
    wrong = [each for key, dimension in tune.space.items() for each in _of_key(key, dimension, model)]
    yield from wrong or _of_values(tune, model)
    yield from _of_sampler(tune)
    yield from _of_rows(tune, spec)
    yield from _of_storage(tune)


def _of_key(key: str, dimension: Dimension, model: Model) -> Iterator[Finding]:
    name, where = key.removeprefix(PREFIX), f"tune.space.{key}"
    known = [each for each in type(model).model_fields if each not in model.not_tuned]
    if not key.startswith(PREFIX):
        fix = nearest(key, [PREFIX + each for each in known], otherwise="remove it; choose tune=none without others")
        yield Finding(where, "is not a key of model, and a search changes keys of model only", fix)
    elif name in model.not_tuned and name in type(model).model_fields:
        yield Finding(where, "cannot be searched, since it chooses other keys or changes no weight", "remove it")
    elif name not in known:
        near = nearest(name, known, otherwise="")
        fix = near.replace("mean ", f"mean {PREFIX}") or f"choose another model, tune=optuna, or of {', '.join(known)}"
        yield Finding(where, f"model={model.family} has no such key", fix)


def _of_values(tune: Tune, model: Model) -> Iterator[Finding]:
    """Each end and each choice must be allowed beside some values of the other keys."""
    ends = {key: _ends(each) for key, each in tune.space.items()}
    others = {key: each[0] for key, each in ends.items()}
    base = list(_wrong_values("tune.space", model, others, None))
    together = [each for each in base if each.where == "tune.space"]
    yield from together
    for key, values in ends.items() if not together else ():
        for value in values:
            yield from _wrong_values(f"tune.space.{key}: {json.dumps(value)}", model, {**others, key: value}, key)


def _ends(dimension: Dimension) -> list[Any]:
    return list(dimension.choices) if dimension.choices is not None else [dimension.low, dimension.high]


def _wrong_values(where: str, model: Model, values: Mapping[str, Any], key: str | None) -> Iterator[Finding]:
    """What the schema refuses; of single values only those of `key`."""
    try:
        changed(model, values)
    except ValidationError as error:
        for detail in error.errors():
            own = PREFIX + str(detail["loc"][0]) if detail["loc"] else ""
            rule = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
            if own == key:
                yield Finding(where, rule[0].lower() + rule[1:], "set another value")
    except Refused as error:
        for each in error.findings:
            fix = f"{each.fix}; or choose tune=optuna" if key is None else f"remove this value, or {each.fix}"
            yield Finding(where, f"{each.where} {each.problem}", fix)


def _of_sampler(tune: Tune) -> Iterator[Finding]:
    where = f"tune.sampler={tune.sampler}"
    if tune.sampler == "cmaes":
        if importlib.util.find_spec("cmaes") is None:
            yield Finding(where, "the package cmaes is not installed", "install tapeline[cmaes]")
        if listed := [key for key, each in tune.space.items() if each.choices is not None]:
            fix = "choose tune.sampler=tpe, or give a range"
            yield Finding(where, f"proposes numbers only, and {', '.join(listed)} has a list of choices", fix)
        if len(tune.space) < 2:
            yield Finding(where, "needs two or more keys", "choose tune.sampler=tpe")
    elif tune.sampler == "grid":
        vague = [key for key, each in tune.space.items() if _points(each) is None]
        fix = "add points, as in {low: 0.1, high: 0.5, points: 5}"
        for key in vague:
            yield Finding(f"tune.space.{key}", "a grid needs the number of points of a range", fix)
        yield from () if vague else _of_grid(tune, where)


def _of_grid(tune: Tune, where: str) -> Iterator[Finding]:
    size = math.prod(_points(each) or 0 for each in tune.space.values())
    if size > GRID:
        fix = "give points, as in {low: 1, high: 99, points: 5}"
        yield Finding(where, f"the grid has {size:,} points, and {GRID:,} are allowed", fix)
    elif tune.trials > size:
        yield Finding(f"tune.trials={tune.trials}", f"the grid has {size} points", f"set tune.trials={size} or less")


def _points(dimension: Dimension) -> int | None:
    """How many values a grid has of a key; None where the range does not say."""
    if dimension.choices is not None:
        return len(dimension.choices)
    if dimension.points is not None:
        return dimension.points
    whole = isinstance(dimension.low, int) and isinstance(dimension.high, int)
    return int(dimension.high - dimension.low) + 1 if whole else None


def _of_rows(tune: Tune, spec: Spec) -> Iterator[Finding]:
    timed = spec.horizon is not None
    if tune.block is not None:
        try:
            if not parse_duration(tune.block):
                yield Finding(f"tune.block={tune.block}", "must be longer than 0", "set it, as in tune.block=1w")
        except ValueError as error:
            yield Finding(f"tune.block={tune.block}", str(error), "set it, as in tune.block=1w")
        if tune.rows is None:
            yield Finding(f"tune.block={tune.block}", "is not read, since tune.rows=null", "set tune.rows too")
        if not timed:
            problem = "the dataset's rows have no time; rows or whole groups are drawn"
            yield Finding(f"tune.block={tune.block}", problem, "set tune.block=null")
    elif tune.rows is not None and timed:
        problem = "rows with a time are drawn in blocks, and tune.block=null"
        yield Finding(f"tune.rows={tune.rows}", problem, "set the duration of a block, as in tune.block=1w")


def _of_storage(tune: Tune) -> Iterator[Finding]:
    if tune.storage is None:
        fix = "set tune.storage too, as in tune.storage=postgresql://user@host/database"
        for key in ("study", "password_env", "password_file"):
            if (value := getattr(tune, key)) is not None:
                yield Finding(f"tune.{key}={value}", "is not read, since tune.storage=null", fix)
        if tune.workers > 1:
            yield Finding(f"tune.workers={tune.workers}", "several workers need a database, and tune.storage=null", fix)
    if tune.password_env and tune.password_file:
        yield Finding("tune.password_env", "tune.password_file is set, too", "keep one of them")


def changed(model: Model, overrides: Mapping[str, Any]) -> Model:
    """The section with values for dotted keys, validated.

    Raises:
        ValidationError, Refused: a value that the schema does not allow.
    """
    values = {key.removeprefix(PREFIX): value for key, value in overrides.items()}
    return type(model).model_validate({**model.model_dump(), **values})


def whole_numbers(key: str, model: Model) -> bool:
    """Whether the schema allows only whole numbers for a key."""
    try:
        changed(model, {key: 1.5})
    except ValidationError as error:
        return any(each["type"].startswith("int") for each in error.errors())
    except Refused:
        pass
    return False


def distributions(space: Mapping[str, Dimension], model: Model) -> dict[str, BaseDistribution]:
    """Optuna's distribution for each key; a choice is its JSON text."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    made: dict[str, BaseDistribution] = {}
    for key, each in space.items():
        low, high, log = each.low, each.high, bool(each.log)
        if each.choices is not None:
            made[key] = CategoricalDistribution([json.dumps(choice) for choice in each.choices])
        elif whole_numbers(key, model):
            made[key] = IntDistribution(int(low or 0), int(high or 0), log=log)
        else:
            made[key] = FloatDistribution(float(low or 0), float(high or 0), log=log)
    return made


def grid(space: Mapping[str, Dimension], made: Mapping[str, BaseDistribution]) -> dict[str, list[Any]]:
    """The points of each key for the sampler grid, as its distribution has them."""
    import numpy as np
    from optuna.distributions import CategoricalDistribution, IntDistribution

    points: dict[str, list[Any]] = {}
    for key, each in space.items():
        distribution = made[key]
        if isinstance(distribution, CategoricalDistribution):
            points[key] = list(distribution.choices)
            continue
        low, high = float(each.low or 0), float(each.high or 0)
        number = each.points or int(high - low) + 1
        values = np.geomspace(low, high, number) if each.log else np.linspace(low, high, number)
        if isinstance(distribution, IntDistribution):
            points[key] = sorted({round(float(value)) for value in values})
        else:
            points[key] = [min(max(float(value), low), high) for value in values]
    return points


def values(space: Mapping[str, Dimension], drawn: Mapping[str, Any]) -> Values:
    """Values for the keys of what was drawn from their distributions."""
    return {key: _value(space[key], each) for key, each in drawn.items()}


def _value(dimension: Dimension, drawn: Any) -> Any:
    if dimension.choices is not None:
        return json.loads(drawn)
    if dimension.log != "reverse":
        return drawn
    low, high = dimension.low or 0, dimension.high or 0
    return min(max(low + high - drawn, low), high)
