"""G-Research with a pod for each asset's features: the table in the object store is that of this machine."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from tapeline.tables.digests import digest_frame
from tapeline.tables.table import Table, open_table
from tests.cluster.argo import prepared, same_here, store
from tests.cluster.conftest import Image, Kubectl
from tests.cluster.objects import object_store
from tests.cluster.test_argo import SYSTEMS
from tests.conftest import subprocess_tapeline

LINE = SYSTEMS["gresearch"]
ASSETS = [f"{number:02d}" for number in range(14)]


def _from_store(folder: Path, where: str) -> Table:
    """The table in the archive below this key, beside which its parts lie."""
    objects = object_store()
    files = {path.rpartition("/")[2] for path in objects.find(f"{where}/table_parts")}
    assert files == {f"{asset}.{kind}" for asset in ASSETS for kind in ("json", "parquet")}
    objects.get_file(f"{where}/table.tgz", str(folder / "table.tgz"))
    with tarfile.open(folder / "table.tgz") as archive:
        archive.extractall(folder / "theirs", filter="data")
    (manifest,) = (folder / "theirs").rglob("manifest.json")
    return open_table(manifest.parent)


def test_features_by_asset_in_pods_equal_the_table_of_this_machine(
    folder: Path, kubectl: Kubectl, namespace: str, image: Image
) -> None:
    words = (*prepared(kubectl, namespace, image), store(namespace, "parts"))
    shown = subprocess_tapeline("submit", *words, *LINE, "target.partitions=pods", "apply=true", cwd=folder)
    assert shown.returncode == 0, shown.stderr

    run = next(line.split()[-1] for line in shown.stdout.splitlines() if "argo: " in line)
    nodes = json.loads(kubectl("-n", namespace, "get", "workflow", run, "-ojson"))["status"]["nodes"].values()
    pods = [each for each in nodes if each["type"] == "Pod" and each.get("templateName") == "features-part-each"]
    assert len([each for each in pods if each["phase"] == "Succeeded"]) == len(ASSETS)

    here = subprocess_tapeline("step", "ingest,features", *LINE, "--out", "table=ours", cwd=folder)
    assert here.returncode == 0, here.stderr
    ours = open_table(folder / "ours")
    theirs = _from_store(folder, f"tapeline/artifacts/{namespace}/{run}")
    assert [part.id for part in ours.manifest.parts] == ASSETS
    assert theirs.manifest == ours.manifest
    for part in ours.manifest.parts:
        assert digest_frame(theirs.scan(part.id).collect()) == part.digest, part.id
        assert (theirs.path / part.file).read_bytes() == (ours.path / part.file).read_bytes(), part.id
    same_here(folder, words, LINE)
