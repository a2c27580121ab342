"""The graph of steps as a Mermaid diagram, and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tapeline.config.schema import Config
from tapeline.pipeline.graph import Step, pipeline


def mermaid(config: Config) -> str:
    """The diagram as text: a box for each step, an arrow for each artifact, dashed where a step may be skipped."""
    return "\n".join(_lines(config))


def _lines(config: Config) -> Iterator[str]:
    steps = pipeline(config)
    makers = {made.name: step.name for step in steps for made in step.makes}
    yield "flowchart TD"
    for step in steps:
        yield f'  {step.name}["{step.name}"]'
    for step in steps:
        between: dict[str, list[str]] = {}
        for name in step.inputs:
            if name in makers:
                between.setdefault(makers[name], []).append(name)
        for maker, names in between.items():
            arrow = "-.->" if step.when else "-->"
            yield f'  {maker} {arrow}|"{", ".join(names)}"| {step.name}'
        if step.when:
            decider = next(each.name for each in steps if step.when in each.parameters)
            yield f'  {decider} -.->|"if {step.when}"| {step.name}'
    writers = [step.name for step in steps if step.store == "write"]
    yield from (f"  {name} --> store[(store)]" for name in writers)


ROW, LANE, BOX = 58, 86, 104
"""Of the picture, in pixels: height of a step, distance of two artifacts, width of a step's box."""


def svg(config: Config) -> str:
    """The graph as a picture: a row for each step, and for each artifact a line from its maker down to its takers."""
    steps = pipeline(config)
    lanes = _lanes(steps)
    width = BOX + 40 + LANE * (1 + max(lanes.values()))
    names = ", ".join(step.name for step in steps)
    drawn = [f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="The steps {names} and their artifacts" '
             f'viewBox="0 0 {width} {ROW * len(steps)}" width="{width}" font-family="sans-serif" font-size="12" '
             'fill="none" stroke="currentColor">']  # fmt: skip
    for row, step in enumerate(steps):
        middle = ROW * row + ROW // 2 - 6
        drawn += [*_box(step, middle), *_taken(step, lanes, middle), *_made(step, steps, lanes, row, middle)]
    return "\n".join([*drawn, "</svg>"])


def _lanes(steps: Sequence[Step]) -> dict[str, int]:
    """The column of each artifact: the first one that is free from its maker's row to its last taker's."""
    free_from: list[int] = []
    lanes: dict[str, int] = {}
    for row, step in enumerate(steps):
        for made in step.makes:
            lane = next((at for at, since in enumerate(free_from) if since < row), len(free_from))
            free_from[lane : lane + 1] = [_last(made.name, steps, row)]
            lanes[made.name] = lane
    return lanes


def _last(name: str, steps: Sequence[Step], row: int) -> int:
    return max([row, *(at for at, step in enumerate(steps) if name in step.inputs)])


def _x(lane: int) -> int:
    return BOX + 36 + LANE * lane


def _box(step: Step, middle: int) -> Iterator[str]:
    dashed = ' stroke-dasharray="4 3"' if step.when else ""
    yield f'<rect x="1" y="{middle - 16}" width="{BOX}" height="32" rx="4"{dashed}/>'
    yield _text(1 + BOX // 2, middle + (-1 if step.when else 4), step.name, "middle")
    if step.when:
        yield _text(1 + BOX // 2, middle + 12, f"if {step.when}", "middle", size=10)


def _taken(step: Step, lanes: Mapping[str, int], middle: int) -> Iterator[str]:
    at = [_x(lanes[name]) for name in step.inputs if name in lanes]
    if at:
        left, y = BOX + 2, middle - 8
        yield f'<path d="M{max(at)} {y} H{left} m7 -4 l-7 4 l7 4"/>'
        yield from (f'<circle cx="{x}" cy="{y}" r="3" fill="currentColor"/>' for x in at)


def _made(step: Step, steps: Sequence[Step], lanes: Mapping[str, int], row: int, middle: int) -> Iterator[str]:
    y = middle + 8
    at = {made.name: _x(lanes[made.name]) for made in step.makes}
    yield f'<path d="M{BOX + 1} {y} H{max(at.values())}"/>'
    for name, x in at.items():
        yield f'<circle cx="{x}" cy="{y}" r="4" fill="currentColor"/>'
        yield _text(x + 7, y + 14, name, "start")
        if (last := _last(name, steps, row)) > row:
            yield f'<path d="M{x} {y} V{ROW * last + ROW // 2 - 14}"/>'


def _text(x: int, y: int, text: str, anchor: str, size: int = 12) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="currentColor" stroke="none">'
        f"{text}</text>"
    )
