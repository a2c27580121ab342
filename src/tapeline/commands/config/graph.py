"""The graph of steps as a Mermaid diagram."""

from __future__ import annotations

from collections.abc import Iterator

from tapeline.config.schema import Config
from tapeline.pipeline.graph import pipeline


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
