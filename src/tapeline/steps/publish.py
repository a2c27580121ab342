"""An accepted model becomes the live version.

tapeline step publish serving.store=./store --in servable=... --in metrics=... --out published=published.json
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from tapeline import files
from tapeline.config.schema import Serving
from tapeline.errors import refuse
from tapeline.serving.store import operations as verbs
from tapeline.serving.store.versions import RolledBack


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""

    serving: Serving


def run(config: Reads, *, servable: Path, metrics: Path, store: str, published: Path) -> None:
    """Publish, and write published.json: name, number, model_version, whether anything was written.

    A model that was rolled back stays out, and that is a result, too: a nightly run goes on.

    Raises:
        Refused: the gate did not accept this model, or its user may not write to the store.
    """
    decided = files.read_json(metrics)
    if not decided["gate"]["accepted"]:
        raise refuse(metrics, "the gate rejected this model", "publish one that it accepts")
    try:
        version, written = verbs.publish(servable, metrics, store, config.serving)
    except RolledBack as error:
        files.write_json(published, {"written": False, "sentence": f"not published: {error}"})
        return
    except PermissionError:
        fix = (
            "let it write there (in Kubeflow Pipelines by fsGroup, see docs/guide/clusters.md), or choose another store"
        )
        raise refuse(f"serving.store={store}", f"user {os.getuid()} may not write there", fix) from None
    sentence = (
        f"published: {version} is live in {store}" if written else f"{version} is live already; nothing was written"
    )
    files.write_json(published, {**asdict(version), "written": written, "sentence": sentence})
