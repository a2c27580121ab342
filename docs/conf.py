"""Settings of Sphinx: make docs."""

from __future__ import annotations

import re
from typing import Any

project = "tapeline"
author = "the tapeline contributors"
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "tapeline"
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
exclude_patterns = ["_build", "generate.py"]
nitpicky = True

INDEX = {
    "guide/data": {
        "Your own data": ["csv", "my csv", "own csv", "csv file", "own data", "my data", "load csv"],
        "What as_of means": ["as_of", "as of", "as_of meaning", "decision time"],
    },
    "guide/report": {
        "Why was my model rejected?": ["rejected", "why rejected", "model rejected", "rejection", "reject"]
    },
    "guide/runs": {
        "Compare two runs": ["compare", "compare runs", "compare two runs", "difference"],
        "Predictions as CSV": ["predictions csv", "csv predictions", "export predictions", "save predictions"],
        "Sweeps": [
            "sweep",
            "sweep models",
            "compare models",
            "three models",
            "several models",
            "grid search",
            "multirun",
        ],
    },
    "guide/extending": {"A market or a dataset": ["market", "add market", "add a market", "new market", "add dataset"]},
    "guide/serving": {
        "Serving": ["serve", "serve model", "serve a model", "predict", "ask", "api"],
        "Versions and rollback": ["rollback", "roll back", "previous version", "undo", "older version"],
    },
    "guide/clusters": {
        "Clusters": ["cluster", "kubernetes", "argo", "kubeflow", "kfp", "kubectl", "deploy"],
        "Sweeps on Argo": ["sweep on a cluster", "parallelism", "fan-out", "many jobs"],
    },
}
"""Entries of the search by page and heading: words that people search for, which stand on many pages."""


def _index(app: object, page: str, source: list[str]) -> None:
    for heading, words in INDEX.get(page, {}).items():
        entries = ", ".join(f"!{word}" for word in words)
        mark = re.compile(rf"^(#+ {re.escape(heading)}\n)", re.MULTILINE)
        source[0], found = mark.subn(rf"\1\n```{{index}} {entries}\n```\n", source[0])
        if found != 1:
            raise ValueError(f"docs/{page}.md has no heading {heading}")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _index)
