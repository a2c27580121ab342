"""What looks wrong in time series as they were delivered, before anything is filled or left out.

defects = examine(observed)         jumps, changes of the unit, frozen values, holes, weekly series, early ends, ...
limits(observed, 5, 0.5)            findings: holes longer than five days, moves of more than half
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tapeline.errors import Finding
from tapeline.tables.observed import HOLE, Observed, holes, is_trading, missed, moment, runs

Array = np.ndarray[Any, Any]
log = logging.getLogger(__name__)

FEWEST = 20
"""Values that a series needs to be examined."""
DEVIATIONS = 12
"""Standard deviations, of the moves without their outliers, that a jump has at least."""
JUMP, SPIKE = 0.25, 0.15
"""And the size of its log return at least: of a jump that stays, and of one that the next value takes back."""
BACK = 0.25
"""Share of a jump that is left when it has been taken back."""
WITHIN = 250
"""Values after which a jump may be taken back."""
POWER = 0.04
"""A jump whose decimal logarithm is so near to a whole number looks like a change of the unit."""
FROZEN = 5
"""Equal values in a row that are reported, at least; more in a series whose values often stay equal."""
EARLY = 10
"""Times before the last one of all series, after which a series is said to end early; more where holes are usual."""
CHANCE = 0.0001
"""The probability that as many equal values in a row occur by chance, from which on they are reported."""
SHOWN = 3
"""Lines for one kind of defect in one series."""
PERIODS = {"weekly": (5, 9), "monthly": (26, 33), "quarterly": (85, 95), "yearly": (350, 380)}
"""Days between two new values."""
KINDS = ("unit", "jump", "frozen", "hole", "sparse", "end", "closed", "filled")
"""Kinds of defects, in the order in which they are shown."""


@dataclass(frozen=True)
class Defect:
    """One finding about one series."""

    kind: str
    """One of KINDS."""
    series: str
    first: str
    """The first time concerned."""
    last: str
    size: float
    """Of a jump the relative move, of a unit the factor; else the number of values, or of times without one."""
    text: str
    """A sentence that names series, day and size."""


def examine(observed: Iterable[Observed]) -> list[Defect]:
    """All defects, the gravest kind first; the same hole in most series is one defect."""
    return examined(observed)[1]


def examined(observed: Iterable[Observed]) -> tuple[int, list[Defect]]:
    """The number of series, and all defects as `examine`. Only one series is in memory at the same time."""
    count, found, ends = 0, list[Defect](), list[tuple[Observed, Defect | None]]()
    for each in observed:
        count += 1
        if len(each.time) >= FEWEST:
            period = _period(each)
            found += _of_one(each, period)
            ends.append((replace(each, time=each.time[-1:], values=each.values[-1:]), period))
    last = max((each.time[-1] for each, _ in ends), default=None)
    found += [defect for each, period in ends for defect in _early_end(each, period, last)]
    return count, sorted(_merged(found, len(ends)), key=lambda each: KINDS.index(each.kind))


def records(defects: Iterable[Defect]) -> list[dict[str, Any]]:
    """Defects as JSON values: the list `quality` of profile.json and metrics.json."""
    return [asdict(each) for each in defects]


def say(defects: Sequence[Mapping[str, Any]]) -> None:
    """Log a line for each record; a console shows the same line once."""
    for each in defects:
        log.info("data quality: %s", each["text"], extra={"once": True})


def limits(observed: Iterable[Observed], max_gap_days: int | None, max_move: float | None) -> Iterator[Finding]:
    """A finding for each series with a hole longer than `max_gap_days`, or a move of more than `max_move`.

    Args:
        observed: the series.
        max_gap_days: the longest allowed run of times without a value, in days or other steps of the series.
        max_move: the largest allowed relative change from one value to the next, as 0.5 for half; null allows all.
    """
    for each in observed:
        if max_gap_days is not None:
            longest = max(holes(each), key=lambda hole: hole[2], default=None)
            if longest and longest[2] > max_gap_days:
                problem = f"has no value on {_days(longest[2], each)}, {_span(longest[0], longest[1])}"
                fix = f"complete the data, or set dataset.max_gap_days={longest[2]} or more"
                yield Finding(each.name, problem, fix)
        if max_move is not None and len(each.values) > 1:
            with np.errstate(divide="ignore", invalid="ignore"):
                moves = np.nan_to_num(np.abs(each.values[1:] / each.values[:-1] - 1))
            at = int(np.argmax(moves))
            if moves[at] > max_move:
                problem = f"{_moved(each, at + 1)}, which is more than dataset.max_move={max_move:g}"
                yield Finding(each.name, problem, "correct the value, or set a larger dataset.max_move")


def _of_one(each: Observed, period: Defect | None) -> Iterator[Defect]:
    yield from _few(_jumps(each))
    if period:
        yield period
    else:
        yield from _few(_frozen(each))
        yield from _hole_defects(each)
    yield from _outside(each)


def _early_end(each: Observed, period: Defect | None, end: Any) -> Iterator[Defect]:
    late = missed(each, each.time[-1], end)
    if late > EARLY * each.hole / HOLE and not (period and late <= 2 * period.size):
        text = f"{each.name} ends on {moment(each.time[-1])}, {_days(late, each)} before the last series"
        yield Defect("end", each.name, moment(each.time[-1]), moment(end), late, text)


def _few(defects: Iterable[Defect]) -> Iterator[Defect]:
    """The first SHOWN of a kind; the last of these says how many more there are."""
    found = list(defects)
    for kind in dict.fromkeys(each.kind for each in found):
        same = [each for each in found if each.kind == kind]
        more = len(same) - SHOWN
        yield from same[: SHOWN - 1 if more > 0 else SHOWN]
        if more > 0:
            yield replace(same[SHOWN - 1], text=f"{same[SHOWN - 1].text} (and {more} more)")


def _jumps(each: Observed) -> Iterator[Defect]:
    """Moves far outside the rest: taken back later, a change of the unit, or for good."""
    if (each.values <= 0).any():
        return
    moves = np.diff(np.log(each.values))
    steps = np.diff(each.time).astype(np.int64)
    scale = np.sqrt(np.maximum(steps / max(np.median(steps), 1), 1))
    some = moves[moves != 0]
    deviation = 1.4826 * float(np.median(np.abs(some))) if len(some) else 0.0
    large = np.flatnonzero(np.abs(moves) > np.maximum(SPIKE, DEVIATIONS * deviation) * scale)
    done = set[int]()
    for at in large.tolist():
        if at in done:
            continue
        back = next(
            (other for other in large.tolist() if at < other <= at + WITHIN and _undoes(moves, at, other)), None
        )
        if back is not None and (back == at + 1 or abs(moves[at]) > JUMP):
            done.add(back)
            yield _returning(each, at + 1, back)
        elif abs(moves[at]) > JUMP * scale[at]:
            yield _lasting(each, at + 1, float(moves[at]))


def _undoes(moves: Array, at: int, back: int) -> bool:
    return bool(abs(moves[at] + moves[back]) < BACK * abs(moves[at]))


def _returning(each: Observed, first: int, last: int) -> Defect:
    if first == last:
        what = f"{_moved(each, first)}, and the next value is back at {_number(each.values[first + 1])}"
    else:
        what = f"{_moved(each, first)}, and is back after {moment(each.time[last])}"
    return _jump("jump", each, first, last, what)


def _lasting(each: Observed, at: int, move: float) -> Defect:
    powers = move / np.log(10)
    if abs(powers) > 0.5 and abs(powers - round(powers)) < POWER:
        factor = 10 ** abs(round(powers))
        size = f"about {factor:,} times {'smaller' if move < 0 else 'larger'}"
        numbers = f"{_number(each.values[at - 1])} to {_number(each.values[at])}"
        what = f"is {size} from {moment(each.time[at])} on ({numbers}): the unit may have changed"
        return _jump("unit", each, at, at, what)
    return _jump("jump", each, at, at, f"{_moved(each, at)} and stays there")


def _jump(kind: str, each: Observed, first: int, last: int, what: str) -> Defect:
    size = float(each.values[first] / each.values[first - 1] - (kind == "jump"))
    start, end = moment(each.time[first]), moment(each.time[last])
    return Defect(kind, each.name, start, end, float(f"{size:.6g}"), f"{each.name} {what}")


def _moved(each: Observed, at: int) -> str:
    """The move to a value, as a clause: falls 99.0 % on 2012-07-30 (5,500 to 55)."""
    before, after = float(each.values[at - 1]), float(each.values[at])
    with np.errstate(divide="ignore"):
        times = float(np.divide(after, before))
    how = f"falls {100 * (1 - times):.1f} %" if times < 1 else f"rises {100 * (times - 1):.1f} %"
    if times >= 2:
        how = f"rises to {times:.3g} times its value"
    return f"{how} on {moment(each.time[at])} ({_number(before)} to {_number(after)})"


def _frozen(each: Observed) -> Iterator[Defect]:
    """Runs of equal values that chance does not explain, on trading days."""
    rows = np.flatnonzero(is_trading(each))
    values = each.values[rows]
    equal = values[1:] == values[:-1]
    firsts, lengths = runs(equal)
    if not len(lengths):
        return
    longest, count = int(lengths.max()), len(values)
    usual = max((int(equal.sum()) - longest) / max(count - longest, 1), 0.002)
    least = FROZEN - 1 if usual < 1 else count
    if usual < 1:
        least = max(least, int(np.ceil(np.log(count / CHANCE) / -np.log(usual))))
    for first, length in zip(firsts[lengths >= least], lengths[lengths >= least], strict=True):
        ends = rows[[first, first + length]]
        (start, end), many = map(moment, each.time[ends]), int(ends[1] - ends[0]) + 1
        text = f"{each.name} has the same value {many} times in a row, {start} to {end} ({_number(values[first])})"
        yield Defect("frozen", each.name, start, end, many, text)


def _period(each: Observed) -> Defect | None:
    """A series that is weekly, monthly or rarer, filled up to daily or not."""
    if each.every != "day":
        return None
    changed = np.concatenate([[True], each.values[1:] != each.values[:-1]])
    times = each.time[changed].astype("datetime64[D]")
    if len(times) < 8:
        return None
    distance = float(np.median(np.diff(times).astype(np.int64)))
    for name, (low, high) in PERIODS.items():
        if low <= distance <= high:
            text = f"{each.name} is {name}: it has a new value every {distance:g} days only, from {moment(times[0])} on"
            return Defect("sparse", each.name, moment(times[0]), moment(times[-1]), distance, text)
    return None


def _hole_defects(each: Observed) -> Iterator[Defect]:
    found = holes(each)
    own = [hole for hole in found if hole[2] >= each.hole]
    defects = []
    for first, last, many in sorted(own, key=lambda hole: (-hole[2], hole[0])):
        text = f"{each.name} has no value on {_days(many, each)}, {_span(first, last)}"
        defects.append(Defect("hole", each.name, moment(first), moment(last), many, text))
    yield from _few(defects)
    short = [hole for hole in found if hole[2] < each.hole]
    if short and each.expected is not None:
        many = sum(hole[2] for hole in short)
        first, last = short[0][0], short[-1][1]
        where = f"{_days(many, each)} in gaps shorter than {each.hole}, the first on {moment(first)}"
        text = f"{each.name} has no value on {where}"
        yield Defect("hole", each.name, moment(first), moment(last), many, text)


def _outside(each: Observed) -> Iterator[Defect]:
    """Values on days without trading: the value before, filled in by the vendor, or another one."""
    outside = ~is_trading(each)
    outside[0] = False
    rows = np.flatnonzero(outside)
    same = each.values[rows] == each.values[rows - 1]
    parts = {
        "filled": (rows[same], "the value of the day before on {}, on which its exchange was closed"),
        "closed": (rows[~same], "a new value on {}, on which its exchange was closed"),
    }
    for kind, (found, what) in parts.items():
        if len(found):
            days = [moment(day) for day in each.time[found]]
            some = f": {', '.join(days[:SHOWN])}" + (", ..." if len(days) > SHOWN else "")
            many = f"{len(found)} day{'s' if len(found) > 1 else ''}"
            text = f"{each.name} has {what.format(many)}{some}"
            yield Defect(kind, each.name, days[0], days[-1], len(found), text)


def _merged(defects: Sequence[Defect], series: int) -> list[Defect]:
    """One defect instead of the same hole in most series: then times are missing from the whole data."""
    merged, done = list[Defect](), set[Defect]()
    for each in (each for each in defects if each.kind == "hole"):
        same = [other for other in defects if other.kind == "hole" and other not in done and _near(each, other)]
        if each in same and len(same) > max(1, series // 2):
            done.update(same)
            names = ", ".join(other.series for other in same)
            size = max(other.size for other in same)
            what = "minutes" if "T" in each.first else "days"
            text = (
                f"{names} have no value on {size:,} {what} on which they should have one, {each.first} to {each.last}"
            )
            merged.append(replace(each, size=size, text=text))
    return [*merged, *(each for each in defects if each not in done)]


def _near(one: Defect, other: Defect) -> bool:
    """Whether two holes begin and end within a few days or minutes, as exchanges have holidays of their own."""
    ends = ((one.first, other.first), (one.last, other.last))
    near = np.timedelta64(5, "m") if "T" in one.first else np.timedelta64(5, "D")
    sizes = min(one.size, other.size) > max(one.size, other.size) / 2
    return sizes and all(abs(np.datetime64(a) - np.datetime64(b)) <= near for a, b in ends)


def _days(many: int, each: Observed) -> str:
    kind = "trading day" if each.trading is not None else each.every
    return f"{many:,} {kind}{'s' if many > 1 else ''}"


def _span(first: Any, last: Any) -> str:
    return moment(first) if first == last else f"{moment(first)} to {moment(last)}"


def _number(value: float) -> str:
    return f"{value:,.6g}"
