"""Pages for people: one HTML file each, without network, from templates that extend shell.html.

    environment(folder).get_template("mine.html").render(...)       {% extends "shell.html" %}

A number that stands in a file of the run is written by `numbers`, and says where: data-key is its JSON
pointer (RFC 6901) below the file's name, value is the number itself, and the text is what fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment

Number = Callable[..., Markup]
"""number("metrics", "test", "accuracy", form=".1%")"""
Cell = str | int | Markup | None


SLOTS = {name: Markup('<div class="run" id="run-{}"></div>').format(name) for name in ("top", "end")}
"""Where a page says which run it is of, whether its model is live and what to type next; and how to repeat it."""


@dataclass(frozen=True)
class Grid:
    """A table; columns after the first hold numbers, unless they are named in `text_columns`."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text_columns: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """A picture with what belongs to it."""

    name: str
    title: str
    caption: str
    """How to read it."""
    svg: Markup
    numbers: Grid | None = None
    """The same for those who cannot see it."""
    wide: bool = False


def environment(*folders: Path) -> Environment:
    """Templates of these folders and of ours, with everything escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def stamped(page: str, lines: Mapping[str, Sequence[Markup]]) -> str:
    """The page with lines about the run that made it, by slot, where it has slots; a step leaves them empty."""
    for name, slot in SLOTS.items():
        body = Markup("").join(Markup("<p>{}</p>").format(line) for line in lines[name])
        page = page.replace(slot, f'<div class="run" id="run-{name}">{body}</div>', 1)
    return page


def numbers(files: Mapping[str, Any]) -> Number:
    """A function that writes numbers of these files, by the path to each."""

    def number(*path: str | int, form: str = ".4f") -> Markup:
        value: Any = files
        for part in path:
            value = value[part]
        key = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
        return Markup('<data data-key="{}" value="{!r}">{}</data>').format(key, value, formed(value, form))

    return number


def formed(value: float | None, form: str) -> str:
    """A number as people read it, a word where there is none; `form` is Python's, or % for as few digits as do."""
    if value is None:
        return "none"
    return (f"{100 * value:g}%" if form == "%" else format(value, form)).replace("%", "\N{NO-BREAK SPACE}%")
