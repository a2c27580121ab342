"""Settings of Sphinx: make docs."""

project = "tapeline"
author = "the tapeline contributors"
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "tapeline"
html_show_copyright = False
html_static_path: list[str] = []
exclude_patterns = ["_build", "generate.py"]
nitpicky = True
