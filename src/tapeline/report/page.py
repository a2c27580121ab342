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


SLOT = Markup('<div class="run" id="run"></div>')
"""Where a page says which run it is of, when it was, and whether its model is live."""


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


def stamped(page: str, lines: Sequence[Markup]) -> str:
    """The page with lines about the run that made it, where it has the place for them; a step leaves it empty."""
    body = "".join(f"<p>{line}</p>" for line in lines)
    return page.replace(SLOT, Markup('<div class="run" id="run">{}</div>').format(Markup(body)), 1)  # noqa: S704


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
