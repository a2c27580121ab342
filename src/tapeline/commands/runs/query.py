"""Which runs are meant: query='model.family=flat accuracy>0.6 snp'

Words are separated by blanks, and a run must fit all of them: KEY=VALUE, KEY>NUMBER or KEY<NUMBER, where KEY is a key
of the configuration, a metric of the test rows, or one of state, simulated and seconds; any other word must stand in
the run's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tapeline.config.compose import flat
from tapeline.errors import nearest, refuse
from tapeline.pipeline.run_folder import Run

CONDITION = re.compile(r"([A-Za-z][\w.]*)(=|>|<)(.*)")


def fitting(runs: Sequence[Run], text: str) -> list[Run]:
    """The runs that fit every word of a query, in their order.

    Raises:
        Refused: a key that no run has, or a comparison with what is not a number.
    """
    words = text.split()
    if not words:
        return list(runs)
    facts = [_facts(run) for run in runs]
    for word in words:
        _check(word, facts)
    return [run for run, known in zip(runs, facts, strict=True) if all(_fits(word, run, known) for word in words)]


def _facts(run: Run) -> dict[str, Any]:
    """What conditions can ask of a run, by key."""
    found: dict[str, Any] = {"seconds": run.record.get("seconds"), "state": run.problem or run.decision}
    if not run.metrics:
        return found
    scores = {key: each for key, each in flat(run.metrics["test"]["overall"]).items() if isinstance(each, int | float)}
    return {**flat(run.metrics["config"]), **scores, **found, "simulated": run.metrics["data"].get("simulated")}


def _check(word: str, facts: Sequence[Mapping[str, Any]]) -> None:
    condition = CONDITION.fullmatch(word)
    if not condition:
        return
    key, sign, value = condition.groups()
    known = list(dict.fromkeys(name for each in facts for name in each))
    if key not in known:
        raise refuse(f"query: {word}", f"no run has the key {key}", nearest(key, known, otherwise="see make config"))
    if sign in "<>" and _number(value) is None:
        raise refuse(f"query: {word}", f"{value!r} is not a number", f"write one, for example {key}{sign}0.6")


def _fits(word: str, run: Run, known: Mapping[str, Any]) -> bool:
    condition = CONDITION.fullmatch(word)
    if not condition:
        return word in run.name
    key, sign, value = condition.groups()
    if key not in known:
        return False
    found, asked = known[key], _number(value)
    if sign == "=":
        same = _number(found) is not None and asked is not None and _number(found) == asked
        return same or _text(found) == value.lower()
    number = _number(found)
    return number is not None and asked is not None and (number > asked if sign == ">" else number < asked)


def _text(value: Any) -> str:
    return "null" if value is None else str(value).lower()


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
