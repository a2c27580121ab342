"""Pictures of pages at both widths, in light and dark, to look at: python -m tests.screenshots FOLDER PAGE.html ...

Each page gives four PNG files of its first screen, and with `full` as the first word four of the whole page.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal

WIDTHS = {390: 844, 1440: 900}
"""Width and height of the window, in pixels."""
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def shoot(folder: Path, pages: list[Path], *, full: bool = False) -> list[Path]:
    """Write the pictures into a folder; their paths."""
    from playwright.sync_api import sync_playwright

    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        sys.exit("no chromium on this machine; Debian's package has that name")
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        for width, height in WIDTHS.items():
            for theme in THEMES:
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
                page = context.new_page()
                for path in pages:
                    page.goto(path.absolute().as_uri())
                    name = f"{path.parent.name}_{path.stem}_{width}_{theme}{'_full' if full else ''}.png"
                    page.screenshot(path=folder / name, full_page=full)
                    made.append(folder / name)
                context.close()
        browser.close()
    return made


if __name__ == "__main__":
    words = sys.argv[1:]
    whole = words[:1] == ["full"]
    target, *files = map(Path, words[whole:])
    print(*shoot(target, files, full=whole), sep="\n")
