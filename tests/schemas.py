"""Take the schemas of custom resources into src/tapeline/checks/schemas, from the Go modules that publish them.

make schemas
"""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.clusters.releases import ARGO_SCHEMAS, TRAINING_OPERATOR
from tests.conftest import ROOT

TARGET = ROOT / "src" / "tapeline" / "checks" / "schemas"
KINDS = ("clusterworkflowtemplates", "cronworkflows", "workflows", "workflowtemplates")
SOURCES = {
    f"github.com/argoproj/argo-workflows/v4@v{ARGO_SCHEMAS}": [
        f"manifests/base/crds/full/argoproj.io_{kind}.yaml" for kind in KINDS
    ],
    f"github.com/kubeflow/training-operator@v{TRAINING_OPERATOR}": ["manifests/base/crds/kubeflow.org_tfjobs.yaml"],
}
"""Go modules, and the files of each."""


def packed(definition: Path) -> bytes:
    """The schema of a CRD without what no check reads; equal bytes for an equal schema."""
    (record,) = files.yaml_documents(definition.read_text())
    (version,) = record["spec"]["versions"]
    text = json.dumps(_lean(version["schema"]["openAPIV3Schema"]), separators=(",", ":"), sort_keys=True)
    return gzip.compress(text.encode(), 9, mtime=0)


def _lean(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_lean(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # a field may be called description, too: its schema is a mapping
    return {
        key: _lean(value)
        for key, value in schema.items()
        if not (key == "description" and isinstance(value, str)) and not key.startswith("x-kubernetes-list-")
    }


def main() -> None:
    """Write them."""
    for module, paths in SOURCES.items():
        done = subprocess.run(["go", "mod", "download", "-json", module], stdout=subprocess.PIPE, check=True)
        folder = Path(json.loads(done.stdout)["Dir"])
        for path in paths:
            name = Path(path).stem.partition("_")[2]
            (TARGET / f"{name}.json.gz").write_bytes(packed(folder / path))


if __name__ == "__main__":
    main()
