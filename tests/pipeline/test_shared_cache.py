"""The cache that laptop and cluster share: hits on both sides, damage, keys that may only read, and what is taken."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tapeline import files, lookup
from tapeline.console import logged
from tapeline.datasets.indices.simulation import simulate
from tapeline.errors import Refused, refuse
from tapeline.objects import Objects
from tapeline.pipeline import cache, shared_cache
from tapeline.pipeline.graph import STEPS, Step
from tapeline.pipeline.shared_cache import Shared
from tests.conftest import ROOT, Tapeline
from tests.serving import storage_servers

INGEST, FEATURES, TRAIN = (
    next(step for step in STEPS if step.name == name) for name in ("ingest", "features", "train")
)
WANTED = {"model.steps": 3, "input table": "digest"}


def guarded(application: storage_servers.Application) -> storage_servers.Application:
    """The keys of `reader` may only read."""

    def run(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        signed = environ.get("HTTP_AUTHORIZATION", "")
        if "Credential=reader/" in signed and environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            start("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        return application(environ, start)

    return run


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server with two keys, which the environment names."""
    from s3fs import S3FileSystem

    with storage_servers.serving(guarded(storage_servers.s3())) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("AWS_ACCESS_KEY_ID", "writer")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("NO_PROXY", "127.0.0.1")
        S3FileSystem.clear_instance_cache()
        yield address
        S3FileSystem.clear_instance_cache()


@pytest.fixture
def s3(endpoint: str) -> str:
    """The URL of an empty cache in a new bucket."""
    import fsspec

    url = f"s3://bucket-{uuid.uuid4().hex[:8]}"
    fsspec.filesystem("s3", use_listings_cache=False).mkdir(url)
    return f"{url}/cache"


@pytest.fixture(params=["s3", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty cache: in object storage, and on a volume."""
    return f"file://{tmp_path}/volume" if request.param == "file" else str(request.getfixturevalue("s3"))


@pytest.fixture
def said(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """What was logged until now."""
    with logged(tmp_path / "log.txt", shown=False):
        yield (tmp_path / "log.txt").read_text


def connected(url: str, trust: str = "all") -> Shared:
    target = lookup.configure([f"target.cache={url}", f"target.cache_trust={trust}"]).target
    shared = shared_cache.connect(target)
    assert shared is not None
    return shared


def objects(url: str) -> dict[str, int]:
    return {path: each.size for path, each in Objects.from_url(url, folder=True).found().items()}


def made(folder: Path, step: Step) -> dict[str, Path]:
    """A file for each artifact of a step, two for a folder."""
    for each in step.makes:
        path = folder / each.file
        for file in [path / "a", path / "deep" / "b"] if each.folder else [path]:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{each.name} {file.name}")
    return {each.name: folder / each.file for each in step.makes}


def fetched(shared: Shared, step: Step, folder: Path, wanted: dict[str, Any] = WANTED) -> cache.Entry | None:
    target = folder / uuid.uuid4().hex
    target.mkdir()
    return shared.fetch(step, wanted, target)


def test_an_entry_is_found_with_all_its_files_and_by_its_key_only(url: str, tmp_path: Path) -> None:
    paths = made(tmp_path / "made", FEATURES)
    assert fetched(connected(url), FEATURES, tmp_path) is None
    connected(url).offer(FEATURES, WANTED, paths, {"accepted": "true"}, 2.5)
    entry = fetched(connected(url), FEATURES, tmp_path)
    assert entry is not None
    assert entry.digests == {name: files.digest_path(path) for name, path in paths.items()}
    assert (entry.parameters, entry.seconds) == ({"accepted": "true"}, 2.5)
    assert (entry.folder / "table" / "deep" / "b").read_text() == "table b"
    assert fetched(connected(url), FEATURES, tmp_path, {**WANTED, "model.steps": 4}) is None
    assert fetched(connected(url), TRAIN, tmp_path) is None
    ((_, age),) = connected(url).entries_of(FEATURES)
    assert -60 < age < 3600


@pytest.mark.parametrize("damage", ["other bytes", "no file", "no JSON", "a file outside"])
def test_a_damaged_entry_is_noticed_and_replaced(tmp_path: Path, said: Callable[[], str], damage: str) -> None:
    folder = tmp_path / "volume"
    url, paths = f"file://{folder}", made(tmp_path / "made", FEATURES)
    connected(url).offer(FEATURES, WANTED, paths, {}, 1)
    (entry,), (file,) = folder.rglob("entry.json"), folder.rglob("b")
    if damage == "other bytes":
        file.write_text("table c")
    elif damage == "no file":
        file.unlink()
    elif damage == "no JSON":
        entry.write_text(entry.read_text()[:-9])
    else:
        entry.write_text(entry.read_text().replace('"table/deep/b"', '"table/../../../b"'))
    shared = connected(url)
    assert fetched(shared, FEATURES, tmp_path) is None
    assert "features" in said()
    assert "damaged" in said()
    shared.offer(FEATURES, WANTED, paths, {}, 1)
    assert fetched(connected(url), FEATURES, tmp_path) is not None


def test_of_two_runs_that_finish_the_same_step_one_adds_its_entry(url: str, tmp_path: Path) -> None:
    paths = made(tmp_path / "made", FEATURES)
    both = [threading.Thread(target=connected(url).offer, args=(FEATURES, WANTED, paths, {}, 1)) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert len([path for path in objects(url) if path.endswith("entry.json")]) == 1
    assert len([path for path in objects(url) if path.endswith("deep/b")]) == 1
    assert fetched(connected(url), FEATURES, tmp_path) is not None


def test_keys_that_may_only_read_change_nothing_and_say_so(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[], str]
) -> None:
    paths = made(tmp_path / "made", FEATURES)
    connected(s3).offer(FEATURES, WANTED, paths, {}, 1)
    before = objects(s3)
    for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"TAPELINE_CACHE_{name}", os.environ[name])
    monkeypatch.setenv("TAPELINE_CACHE_AWS_ACCESS_KEY_ID", "reader")
    shared = connected(s3)
    assert fetched(shared, FEATURES, tmp_path) is not None
    shared.offer(FEATURES, {**WANTED, "model.steps": 4}, paths, {}, 1)
    shared.offer(FEATURES, {**WANTED, "model.steps": 5}, paths, {}, 1)
    assert said().count(f"target.cache={s3}: these keys may only read; what this run makes is not added") == 1
    assert objects(s3) == before


def test_without_trust_only_data_is_taken(url: str, tmp_path: Path) -> None:
    for step in (INGEST, FEATURES, TRAIN):
        connected(url, "data").offer(step, WANTED, made(tmp_path / step.name, step), {}, 1)
    taken = {
        trust: [step.name for step in (INGEST, FEATURES, TRAIN) if fetched(connected(url, trust), step, tmp_path)]
        for trust in ("data", "all")
    }
    assert taken == {"data": ["ingest", "features"], "all": ["ingest", "features", "train"]}


def test_clusters_trust_data_only() -> None:
    trust = {
        name: lookup.configure([f"target={name}"]).target.cache_trust for name in ("local", "argo", "kfp", "tfjob")
    }
    assert trust == {"local": "all", "argo": "data", "kfp": "data", "tfjob": "data"}


def test_data_is_what_ingest_and_features_make() -> None:
    assert [step.name for step in STEPS if step.data] == ["ingest", "features_part", "features"]


def test_the_pod_of_a_step_and_a_laptop_take_each_others_entries(tapeline: Tapeline, folder: Path, s3: str) -> None:
    pod = ["step", "ingest,features", f"target.cache={s3}", "target.cache_trust=data"]
    code, out, err = tapeline(*pod, "--out", "table=first", "--out", "profile=first.json")
    assert code == 0, err
    assert "ingest     runs because it never ran before" in out
    assert tapeline(*pod, "--out", "table=second", "--out", "profile=second.json")[1].count(" cached") == 2
    assert files.digest_path(folder / "first") == files.digest_path(folder / "second")
    assert (folder / "first.json").read_bytes() == (folder / "second.json").read_bytes()

    laptop = ["explore", f"target.cache={s3}"]
    assert tapeline(*laptop)[1].count(" cached") == 2
    assert tapeline(*laptop, "dataset.seed=5")[1].count(" ran") == 2
    code, out, _ = tapeline(*pod, "dataset.seed=5", "--out", "table=third")
    assert (code, out.count(" cached")) == (0, 2)
    out = tapeline(*pod, "dataset.seed=6", "--out", "table=fourth")[1]
    assert "ingest     runs because dataset.seed " in out


def test_an_object_is_data_by_its_content_and_read_once_for_each_etag(
    tapeline: Tapeline, folder: Path, s3: str
) -> None:
    import fsspec

    bucket = fsspec.filesystem("s3", use_listings_cache=False)
    path = f"{s3.rpartition('/')[0]}/closes.csv"
    frame = simulate(0)
    frame.write_csv(folder / "closes.csv")
    bucket.put_file(str(folder / "closes.csv"), path)
    pod = ["step", "ingest", "dataset.source=csv", f"target.cache={s3}", "--out"]
    assert "runs because" in tapeline(*pod, "raw=a", f"dataset.path={path}")[1]
    assert " cached" in tapeline(*pod, "raw=b", f"dataset.path={path}")[1]
    assert " cached" in tapeline(*pod, "raw=c", "dataset.path=closes.csv")[1]

    section = lookup.configure(["dataset.source=csv", f"dataset.path={path}"]).dataset
    known = connected(s3).known(cache.Known(folder / "another machine"))
    content = files.digest_path(folder / "closes.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hashlib.file_digest", lambda *_: pytest.fail("the object was downloaded"))
        assert lookup.source(section).seen(section, known) == content
    frame.with_columns(dax=frame["dax"] * 2).write_csv(folder / "closes.csv")
    bucket.put_file(str(folder / "closes.csv"), path)
    assert "runs because data outside" in tapeline(*pod, "raw=d", f"dataset.path={path}")[1]


def test_old_and_large_ones_are_removed_and_what_killed_runs_left(tapeline: Tapeline, tmp_path: Path) -> None:
    root = tmp_path / "volume"
    url, shared = f"file://{root}", connected(f"file://{root}")
    for number, days in enumerate((40, 20, 1)):
        wanted = {**WANTED, "model.steps": number}
        shared.offer(TRAIN, wanted, made(tmp_path / "made", TRAIN), {}, 1)
        _age(next(path for path in root.rglob("entry.json") if f'"model.steps": {number}' in path.read_text()), days)
    orphan = root / "train" / "key" / uuid.uuid4().hex / "fitted" / "a"
    orphan.parent.mkdir(parents=True)
    orphan.write_text("half")
    _age(orphan, 3)
    code, out, _ = tapeline("cache", f"target.cache={url}")
    assert (code, "3 entries" in out) == (0, True)
    assert "would go: 1 of 3 entries" in tapeline("cache", f"target.cache={url}", "older=30d")[1]
    assert orphan.exists()
    assert "removed: 1 of 3 entries" in tapeline("cache", f"target.cache={url}", "older=30d", "yes=true")[1]
    assert not orphan.exists()
    assert len(list(root.rglob("fitted/a"))) == 2
    assert fetched(connected(url), TRAIN, tmp_path, {**WANTED, "model.steps": 1}) is not None
    tapeline("cache", f"target.cache={url}", "keep=0MB", "yes=true")
    assert not [path for path in objects(url) if not path.endswith(".lock")]


def _age(path: Path, days: float) -> None:
    moment = path.stat().st_mtime - days * 86_400
    os.utime(path, (moment, moment))


def test_a_bucket_that_does_not_exist_ends_the_run_before_it_starts(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="the bucket nowhere-at-all does not exist"):
        fetched(connected("s3://nowhere-at-all/cache"), FEATURES, tmp_path)


def test_a_store_that_fails_later_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[], str]
) -> None:
    shared = connected(f"file://{tmp_path}/volume")
    assert fetched(shared, FEATURES, tmp_path) is None

    def fails(*_: Any) -> Any:
        raise refuse("s3://bucket", "the request failed", "check the network")

    shared.objects = replace(shared.objects, driver=replace(shared.objects.driver, read=fails, put=fails))
    assert fetched(shared, FEATURES, tmp_path) is None
    shared.offer(FEATURES, WANTED, made(tmp_path / "made", FEATURES), {}, 1)
    assert (shared.reads, shared.writes) == (False, False)
    assert said().count("target.cache=") == 2


LESS = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-FMA,-AVX512F,-AVX2_Usable,-FMA_Usable",
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
    "OPENBLAS_CORETYPE": "Nehalem",
}
"""A processor without AVX and FMA, as far as libm, NumPy and OpenBLAS can be set."""


@pytest.mark.parametrize(
    "dataset",
    ["indices", *(pytest.param(name, marks=pytest.mark.matrix) for name in ("bitcoin", "gresearch", "faces"))],
)
def test_ingest_and_features_are_the_same_bytes_on_two_sets_of_flags(tmp_path: Path, dataset: str) -> None:
    script = "import sys; from tapeline.cli.main import main; sys.exit(main(sys.argv[1:]))"
    names = [each for step in (INGEST, FEATURES) for each in step.makes]
    for folder, flags in (("here", {}), ("less", LESS)):
        out = [word for each in names for word in ("--out", f"{each.name}={tmp_path / folder / each.file}")]
        command = [sys.executable, "-W", "ignore", "-c", script, "step", "ingest,features", f"dataset={dataset}", *out]
        environment = {**os.environ, **flags, "PYTHONPATH": str(ROOT / "src")}
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert files.digest_path(tmp_path / "here") == files.digest_path(tmp_path / "less")
    assert {path.name for path in (tmp_path / "here").iterdir()} == {each.file for each in names}
