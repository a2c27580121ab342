"""Pictures for pages: matplotlib's figures as inline SVG, in the page's own colours and letters.

A figure is about as wide as a phone, so that its text has the size of the page's; where the page is
wider, pictures stand side by side. Only what makes a page imports this module's matplotlib.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape

WIDTH, WIDE = 3.75, 8.2
"""Inches, of which the page makes 96 pixels; a wide picture scrolls sideways on a phone."""
INK, SOFT, LINE, PAGE = "#010200", "#010201", "#010202", "#010203"
GOOD, BAD = "#010204", "#010205"
SERIES = tuple(f"#01020{digit}" for digit in "6789abcd")
"""Stand for the page's colours, so that one picture serves light and dark."""
NAMES = ("ink", "soft", "line", "page", "good", "bad", *(f"s{number}" for number in range(len(SERIES))))
COLOURS = dict(zip((INK, SOFT, LINE, PAGE, GOOD, BAD, *SERIES), NAMES, strict=True))

STYLE = {
    "font.family": ["DejaVu Sans"],  # matplotlib's own, so that the layout is the same everywhere
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "path.simplify": False,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "svg.fonttype": "none",
}


def picture(name: str, says: str, draw: Callable[[Any], None], height: float = 2.5, width: float = WIDTH) -> Markup:
    """An SVG element; the same drawing gives the same bytes.

    Args:
        name: tells this picture's inner references from those of others on the page.
        says: what it shows, for those who cannot see it.
        draw: given a matplotlib Figure with constrained layout.
        height: inches, as width.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the page's letters are the browser's
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return Markup(_inline(buffer.getvalue(), says))  # noqa: S704  # matplotlib escapes what it writes


def _inline(svg: str, says: str) -> str:
    """An SVG file as an element of a page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    head = f'<svg class="plot" role="img" aria-label="{escape(says)}" {box[0]} xmlns:xlink="http://www.w3.org/1999/xlink">'
    svg = re.sub(r"^<svg.*?>", lambda _: head, svg, count=1, flags=re.DOTALL)
    svg = re.sub(r' id="[a-zA-Z.]+2?d?_\d+"', "", svg)
    svg = re.sub(r"font(-family)?: ?([\d.]+px )?'DejaVu Sans'[^;\"]*;? ?", _size, svg)
    svg = re.sub(r' (d|x|y|transform)="([^"]*)"', _rounded, svg)
    for colour, name in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return re.sub(r"\n\s*", "\n", svg)


def _size(font: re.Match[str]) -> str:
    """Of a font only its size."""
    return f"font-size: {font[2].strip()};" if font[2] else ""


def _rounded(attribute: re.Match[str]) -> str:
    """Coordinates to hundredths of a point."""
    numbers = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), attribute[2])
    return f' {attribute[1]}="{" ".join(numbers.split())}"'


def short(name: str, length: int = 18) -> str:
    """A name that fits into a picture; the table beside it has the whole one."""
    plain = "".join(each if each.isprintable() else " " for each in name)
    if len(plain) <= length:
        return plain
    return plain[: length - length // 3 - 1] + "…" + plain[-(length // 3) :]
