"""An accepted model becomes the live version.

tapeline step publish serving.store=./store --in servable=... --in metrics=... --out published=published.json
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from tapeline import files
from tapeline.config import Config
from tapeline.errors import refuse
from tapeline.serving.store import publish as put


def run(config: Config, *, servable: Path, metrics: Path, store: str, published: Path) -> None:
    """Publish, and write published.json: name, number, model_version, whether anything was written.

    Raises:
        Refused: the gate did not accept this model.
    """
    decided = files.read_json(metrics)
    if not decided["gate"]["accepted"]:
        raise refuse(metrics, "the gate rejected this model", "publish one that it accepts")
    version, written = put(servable, Path(store), config.serving.name, lock_seconds=config.serving.lock_seconds)
    what = f"{version.name} version {version.number} ({version.model_version})"
    sentence = f"published: {what} is live in {store}" if written else f"{what} is live already; nothing was written"
    files.write_json(published, {**asdict(version), "written": written, "sentence": sentence})
