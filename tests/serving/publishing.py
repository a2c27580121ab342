"""Publish small fake servables, which do not load: python -m tests.serving.publishing STORE MODEL VERSION ..."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tapeline import lookup
from tapeline.config.schema import Serving
from tapeline.serving import saved_model
from tapeline.serving.store import operations
from tapeline.serving.store.versions import Version

SIZE = 100_000
SERVING = lookup.configure(["serving.lock_seconds=30"]).serving


def fake_servable(folder: Path, model_version: str) -> Path:
    """A folder with the files of a servable and with its metadata; the contents of the other files are invented."""
    made = folder / model_version
    (made / "variables").mkdir(parents=True)
    (made / "assets.extra").mkdir()
    (made / "saved_model.pb").write_bytes(model_version.encode() * SIZE)
    (made / "variables" / "variables.index").write_bytes(b"")
    (made / saved_model.METADATA).write_text(
        json.dumps({"name": "m", "model_version": model_version, "features": ["a"], "data": "0" * 64})
    )
    (folder / "metrics.json").write_text(json.dumps({"gate": {"accepted": True}}))
    return made


def serving(name: str = "m", keep: int = 50) -> Serving:
    return SERVING.model_copy(update={"name": name, "keep": keep})


def publish(store: Path | str, servable: Path, name: str = "m", keep: int = 50) -> Version:
    """As `tapeline publish`."""
    return operations.publish(servable, servable.parent / "metrics.json", store, serving(name, keep))[0]


def main(store: str, name: str, *model_versions: str) -> None:
    saved_model.verify = lambda folder: None
    with tempfile.TemporaryDirectory() as folder:
        servables = [fake_servable(Path(folder), each) for each in model_versions]
        print("ready", flush=True)
        for each in servables:
            publish(store, each, name)


if __name__ == "__main__":
    main(*sys.argv[1:])
