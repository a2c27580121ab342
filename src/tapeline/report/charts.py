"""Pictures for pages: matplotlib's figures as inline SVG, in the page's own colours and letters.

A figure is about as wide as a phone, so that its text has the size of the page's; where the page is
wider, pictures stand side by side. Only what makes a page imports this module's matplotlib.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
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
    "figure.facecolor": "none",
    "axes.facecolor": "none",
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


def picture(name: str, caption: str, draw: Callable[[Any], None], height: float = 2.5, width: float = WIDTH) -> Markup:
    """An SVG element; the same drawing gives the same bytes.

    Args:
        name: makes this picture's inner references differ from those of others on the page.
        caption: what it shows, for those who cannot see it.
        draw: given a matplotlib Figure with constrained layout.
        height: inches, as width.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the page's letters are the browser's
        figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03))
        draw(figure)
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)
    return Markup(_inline(buffer.getvalue(), caption))  # noqa: S704  # matplotlib escapes what it writes


def _inline(svg: str, caption: str) -> str:
    """An SVG file as an element of a page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    said = f'role="img" aria-label="{escape(caption)}"'
    head = f'<svg class="plot" {said} {box[0]} xmlns:xlink="http://www.w3.org/1999/xlink">'
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


def dots(axes: Any, x: Any, y: Any, colour: str, size: float = 2.2) -> None:
    """A cloud of points as one path, which is a tenth of what single markers take."""
    import numpy as np
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    twice = np.repeat(np.column_stack([x, y]).astype(float), 2, axis=0)
    path = Path(twice, np.tile([Path.MOVETO, Path.LINETO], len(twice) // 2))
    axes.add_artist(PathPatch(path, fill=False, edgecolor=colour, linewidth=size, capstyle="round", alpha=0.55))
    axes.update_datalim(twice)
    axes.autoscale_view()


def lines(axes: Any, x: Any, columns: Mapping[str, Sequence[float | None]], strong: str | None = None) -> None:
    """A line for each column in the order of the page's colours, one of them strong, and a legend below the axes."""
    for at, (name, values) in enumerate(columns.items()):
        style = {"color": SERIES[at % len(SERIES)], "linestyle": ("-", "--", ":", "-.")[at // len(SERIES) % 4]}
        weight = {"linewidth": 2.2, "zorder": 3} if name == strong else {"linewidth": 1.1}
        known = [float("nan") if each is None else each for each in values]
        axes.plot(x, known, label=short(name, 12), **style, **weight)
    columns_of_names = 4 if max(map(len, columns), default=0) <= 8 else 3
    axes.figure.legend(loc="outside lower center", ncols=columns_of_names, handlelength=1.2, columnspacing=1.2)


def dates(axes: Any) -> None:
    """Few and short dates along the x axis."""
    from matplotlib.dates import HOURLY, AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=6)
    locator.intervald[HOURLY] = [1, 2, 3, 6, 12, 24]  # without 24, some days of minutes have too many ticks
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))


def heat(
    axes: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    full: float = 1.0,
    form: Callable[[float], str] | None = None,
) -> None:
    """Numbers as cells, the deeper the nearer to `full` or -`full`; correlations unless `form` says otherwise."""
    from matplotlib.patches import Rectangle

    for y, line in enumerate(values):
        for x, value in enumerate(line):
            if value is None:
                continue
            colour, alpha = SERIES[0] if value >= 0 else SERIES[1], min(1.0, abs(value) / full) * 0.75
            axes.add_artist(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=colour, alpha=alpha, linewidth=0))
            text = (form or hundredths)(value)
            axes.text(x, y, text, ha="center", va="center", fontsize=7 if len(columns) > 6 else 8)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xticks(range(len(columns)), [short(name, 9) for name in columns])
    axes.set_yticks(range(len(rows)), [short(name, 12) for name in rows])
    bare(axes)


def hundredths(value: float) -> str:
    """A correlation in three letters."""
    text = f"{value:.2f}".replace("0.", ".", 1)
    return {"-.00": ".00", "1.00": "1", "-1.00": "-1"}.get(text, text)


def named_rows(axes: Any, names: Sequence[str], label: str, length: int = 24, top: float = -0.6) -> None:
    """A row for each name, at 0, 1, ... from the top, with vertical lines at the ticks of x."""
    axes.set_yticks(range(len(names)), [short(name, length) for name in names])
    axes.set(xlabel=label, ylim=(len(names) - 0.4, top))
    bare(axes)
    axes.grid(visible=True, axis="x")


def bare(axes: Any) -> None:
    """No frame, no grid, no ticks; labels only."""
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
