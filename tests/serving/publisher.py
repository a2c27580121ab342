"""Publish small stand-ins for models, without TensorFlow: python -m tests.serving.publisher STORE NAME VERSION ..."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tapeline import lookup
from tapeline.config.schema import Serving
from tapeline.serving import saved_model as servable
from tapeline.serving.store import operations as verbs
from tapeline.serving.store.versions import Version

SIZE = 100_000
SERVING = lookup.configure(["serving.lock_seconds=30"]).serving


def stand_in(folder: Path, version: str) -> Path:
    """A folder with a servable's files, of which only tapeline.json means anything."""
    made = folder / version
    (made / "variables").mkdir(parents=True)
    (made / "assets.extra").mkdir()
    (made / "saved_model.pb").write_bytes(version.encode() * SIZE)
    (made / "variables" / "variables.index").write_bytes(b"")
    (made / servable.METADATA).write_text(
        json.dumps({"name": "m", "model_version": version, "features": ["a"], "data": "0" * 64})
    )
    (folder / "metrics.json").write_text(json.dumps({"gate": {"accepted": True}}))
    return made


def serving(name: str = "m", keep: int = 50) -> Serving:
    return SERVING.model_copy(update={"name": name, "keep": keep})


def publish(place: Path | str, made: Path, name: str = "m", keep: int = 50) -> Version:
    """As `tapeline publish`."""
    return verbs.publish(made, made.parent / "metrics.json", place, serving(name, keep))[0]


def main(place: str, name: str, *versions: str) -> None:
    servable.verify = lambda folder: None
    with tempfile.TemporaryDirectory() as folder:
        models = [stand_in(Path(folder), version) for version in versions]
        print("ready", flush=True)
        for made in models:
            publish(place, made, name)


if __name__ == "__main__":
    main(*sys.argv[1:])
