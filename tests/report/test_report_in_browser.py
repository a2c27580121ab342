"""The report as people see it: Chromium opens it from disk at two widths, in light and in dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tapeline.report import data_page
from tests.report.conftest import RUNS, Run

pytestmark = pytest.mark.servers

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = (390, 1440)
SHOTS = os.environ.get("TAPELINE_SHOTS")
"""A folder, where pictures of the pages are wanted."""

LAYOUT = """
() => {
  const found = [], seen = element => element.getBoundingClientRect();
  const beside = (a, b) => a.right <= b.left + 1 || a.bottom <= b.top + 1;
  const apart = (a, b) => beside(a, b) || beside(b, a);
  const outside = (a, b) => Math.max(b.left - a.left, a.right - b.right, b.top - a.top, a.bottom - b.bottom) > 2;
  if (document.documentElement.scrollWidth > innerWidth) found.push("the page scrolls sideways");
  for (const figure of document.querySelectorAll("figure")) {
    const box = figure.querySelector(".scroll"), svg = figure.querySelector("svg"), edge = seen(svg);
    if (!figure.classList.contains("wide") && box.scrollWidth > box.clientWidth) found.push(figure.id + " scrolls");
    const texts = [...svg.querySelectorAll("text")].filter(text => text.textContent.trim());
    if (!texts.length) found.push(figure.id + " has no text");
    const level = texts.filter(text => !/rotate\\(-?(?!0 |90 )/.test(text.getAttribute("transform") || ""));
    for (const [at, text] of texts.entries()) {
      const here = seen(text), says = figure.id + ": " + text.textContent;
      if (outside(here, edge)) found.push(says + " is cut");
      const size = parseFloat(getComputedStyle(text).fontSize) * edge.width / svg.viewBox.baseVal.width;
      if (size < 9) found.push(says + " is " + size + " pixels high");
    }
    level.forEach((one, at) => level.slice(at + 1).forEach(other => {
      const says = figure.id + ": " + one.textContent + " lies on " + other.textContent;
      if (!apart(seen(one), seen(other))) found.push(says);
    }));
  }
  const blocks = [...document.querySelectorAll("figure, h1, h2, main > p, main > details, .three, .lead, .verdict")];
  blocks.forEach((one, at) => blocks.slice(at + 1).forEach(other => {
    if (!one.contains(other) && !other.contains(one) && !apart(seen(one), seen(other)))
      found.push(one.outerHTML.slice(0, 60) + " lies on " + other.outerHTML.slice(0, 60));
  }));
  return found;
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; Debian's package has that name")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(params=[(width, scheme) for width in WIDTHS for scheme in ("light", "dark")], ids=str)
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty page of a width and a colour scheme, which must end without a word on its console."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = context.new_page()
    said: list[str] = []

    def refuse(dialog: Any) -> None:
        said.append(f"dialog {dialog.message}")
        dialog.dismiss()

    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", refuse)
    opened.on("request", lambda asked: said.extend([asked.url][asked.url.startswith(("file:", "data:")) :]))
    yield opened
    context.close()
    assert said == []


def opened(page: Any, html: str, tmp_path: Path, name: str) -> Any:
    path = tmp_path / "report.html"
    path.write_text(html)
    page.goto(path.as_uri())
    if SHOTS:
        scheme = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'")
        shot = Path(SHOTS) / f"{name.replace(' ', '_')}_{page.viewport_size['width']}_{scheme}.png"
        page.screenshot(path=shot, full_page=True)
    return page


@pytest.fixture(scope="module")
def explored(runs: dict[str, Run]) -> str:
    return data_page(runs["deep accepted"].profile)


@pytest.mark.parametrize("name", RUNS)
def test_nothing_overlaps_and_nothing_is_cut(page: Any, runs: dict[str, Run], name: str, tmp_path: Path) -> None:
    assert opened(page, runs[name].report(), tmp_path, name).evaluate(LAYOUT) == []


def test_the_data_part_alone(page: Any, explored: str, tmp_path: Path) -> None:
    assert opened(page, explored, tmp_path, "explore").evaluate(LAYOUT) == []


def test_hostile_names_break_no_layout(page: Any, hostile_page: str, tmp_path: Path) -> None:
    assert opened(page, hostile_page, tmp_path, "hostile").evaluate(LAYOUT) == []


@pytest.mark.parametrize("page", [(390, "light"), (1440, "dark")], indirect=True, ids=str)
def test_a_click_leads_there_and_opens_tables(page: Any, runs: dict[str, Run], tmp_path: Path) -> None:
    opened(page, runs["flat rejected"].report(), tmp_path, "clicked")
    for link in ("Data", "Model", "Configuration", "Decision"):
        page.get_by_role("link", name=link, exact=True).click()
        target = page.locator(page.evaluate("location.hash"))
        assert 0 <= target.bounding_box()["y"] < 500, link
    table = page.locator("#roc table")
    assert not table.is_visible()
    page.locator("#roc summary").click()
    assert table.is_visible()
    closed = page.locator("details:not([open]) > summary")
    while closed.count():
        closed.first.click()
    assert page.evaluate(LAYOUT) == []


@pytest.mark.parametrize("page", [(390, "light"), (1440, "dark")], indirect=True, ids=str)
def test_light_and_dark_change_at_a_click_and_paper_is_white(page: Any, runs: dict[str, Run], tmp_path: Path) -> None:
    opened(page, runs["flat rejected"].report(), tmp_path, "toggled")

    def colours() -> list[str]:
        found: list[str] = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('#roc text')).fill]"
        )
        return found

    first = colours()
    page.locator("#theme").click()
    second = colours()
    assert first[0] != second[0]
    assert first[1] != second[1]
    page.locator("#theme").click()
    assert colours() == first
    page.emulate_media(media="print")
    assert colours()[0] == "rgb(252, 252, 251)"
    assert not page.locator("nav").is_visible()


@pytest.mark.parametrize("page", [(390, "light")], indirect=True, ids=str)
def test_every_axis_says_what_it_measures(page: Any, runs: dict[str, Run], tmp_path: Path) -> None:
    opened(page, runs["lightgbm walk-forward"].report(), tmp_path, "units")
    units = {
        "beside": ["(share of rows)"],
        "prices": ["index points (log scale)"],
        "scaled": ["first = 100"],
        "autocorrelation-levels": ["lag (days)", "autocorrelation"],
        "leading": ["days before"],
        "missing": ["days without a value"],
        "known": ["hours before the decision"],
        "target": ["share of rows that fall"],
        "training": ["training steps", "accuracy (share of rows)"],
        "over-time": ["accuracy (share of rows)"],
        "roc": ["(share of rises)", "falls found (share)"],
        "calibration": ["probability of down", "share that went down"],
        "confusion": ["predicted", "actual"],
        "importance": ["loss of accuracy"],
        "windows": ["window"],
    }
    for name, labels in units.items():
        text = page.locator(f"#{name} svg").text_content()
        assert [label for label in labels if label not in text] == [], name
