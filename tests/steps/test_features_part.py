"""Features of G-Research by asset, put together: the table is the one that a single step makes, digest by digest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tapeline import files
from tapeline.cli import main as cli
from tapeline.tables.digests import digest_frame
from tapeline.tables.table import open_table
from tests.conftest import Tapeline

DATA = ("experiment=gresearch_sample", "dataset.rows=20000")
OUTPUTS = ("table", "profile.json", "sample.parquet")


def _outputs(folder: Path) -> list[str]:
    return [word for file in OUTPUTS for word in ("--out", f"{file.partition('.')[0]}={folder / file}")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw data, its ids, the table of a single step, and the parts by one command for each id."""
    folder = tmp_path_factory.mktemp("parts")
    raw = ("--in", f"raw={folder / 'raw'}")
    ids = ("--out", f"partitions={folder / 'ids'}")
    assert cli.main(["step", "ingest", *DATA, "--out", f"raw={folder / 'raw'}", *ids]) == 0
    assert cli.main(["step", "features", *DATA, *raw, *_outputs(folder / "whole")]) == 0
    for name in json.loads((folder / "ids").read_text()):
        one = folder / "one" / name
        assert cli.main(["step", "features_part", *DATA, "--part", name, *raw, "--out", f"table_parts={one}"]) == 0
        assert {each.name for each in one.iterdir()} == {f"{name}.parquet", f"{name}.json"}
        shutil.copytree(one, folder / "parts", dirs_exist_ok=True)
    return folder


@pytest.fixture
def collect(made: Path, folder: Path, tapeline: Tapeline) -> Callable[[], tuple[int, str]]:
    """Put together what is in the folder parts; the exit code and what was said."""
    shutil.copytree(made / "parts", folder / "parts")
    given = ("--in", f"raw={made / 'raw'}", "--in", f"table_parts={folder / 'parts'}")

    def run() -> tuple[int, str]:
        code, _, said = tapeline("step", "features", *DATA, *given, *_outputs(folder / "joined"))
        return code, said

    return run


def test_the_ids_are_those_of_the_raw_data(made: Path) -> None:
    ids = json.loads((made / "ids").read_text())
    assert ids == [f"{number:02d}" for number in range(14)]
    assert ids == sorted(path.stem for path in (made / "raw").iterdir())


def test_the_table_is_that_of_one_step_digest_by_digest(
    made: Path, folder: Path, collect: Callable[[], tuple[int, str]]
) -> None:
    assert collect() == (0, "")
    ours, theirs = (open_table(each / "table") for each in (made / "whole", folder / "joined"))
    assert theirs.manifest == ours.manifest
    for part in ours.manifest.parts:
        facts = files.read_json(folder / "parts" / f"{part.id}.json")
        assert facts == asdict(part)
        assert digest_frame(theirs.scan(part.id).collect()) == part.digest
    for file in OUTPUTS:
        assert files.digest_path(folder / "joined" / file) == files.digest_path(made / "whole" / file), file


def test_without_an_id_one_process_makes_all_parts(made: Path, folder: Path, tapeline: Tapeline) -> None:
    raw = ("--in", f"raw={made / 'raw'}")
    code, _, said = tapeline("step", "features_part", *DATA, *raw, "--out", f"table_parts={folder / 'all'}")
    assert (code, said) == (0, "")
    assert files.digest_path(folder / "all") == files.digest_path(made / "parts")


def _remove(folder: Path) -> None:
    (folder / "03.parquet").unlink()


def _without_facts(folder: Path) -> None:
    (folder / "03.json").unlink()


def _cut(folder: Path) -> None:
    path = folder / "03.parquet"
    path.write_bytes(path.read_bytes()[:-100])


def _not_json(folder: Path) -> None:
    (folder / "03.json").write_text("{")


def _of_another(folder: Path) -> None:
    shutil.copy(folder / "04.parquet", folder / "03.parquet")


def _other_digest(folder: Path) -> None:
    facts = files.read_json(folder / "03.json")
    files.write_json(folder / "03.json", {**facts, "digest": "0" * 64})


def _other_time(folder: Path) -> None:
    facts = files.read_json(folder / "03.json")
    files.write_json(folder / "03.json", {**facts, "last": facts["first"]})


def _facts_of_another(folder: Path) -> None:
    shutil.copy(folder / "04.json", folder / "03.json")


def _other_columns(folder: Path) -> None:
    import polars as pl

    pl.read_parquet(folder / "03.parquet").drop("last_return").write_parquet(folder / "03.parquet")


@pytest.mark.parametrize(
    ("damage", "wrong"),
    [
        (_remove, "03.parquet is missing or damaged"),
        (_without_facts, "03.json is missing or damaged"),
        (_cut, "03.parquet is missing or damaged"),
        (_not_json, "03.json is missing or damaged"),
        (_of_another, "than 03.json says"),
        (_other_digest, "than 03.json says"),
        (_other_time, "than 03.json says"),
        (_facts_of_another, "than 03.json says"),
        (_other_columns, "03.parquet has the columns of another configuration"),
    ],
)
def test_a_part_that_is_missing_or_damaged_is_refused_by_its_id(
    folder: Path, collect: Callable[[], tuple[int, str]], damage: Callable[[Path], None], wrong: str
) -> None:
    damage(folder / "parts")
    code, said = collect()
    (line,) = said.splitlines()
    assert code == 2
    assert "partition 03: " in line
    assert wrong in line
    assert line.endswith("; make it again, with --part 03")
    assert not (folder / "joined" / "table").exists()


def test_what_is_wrong_is_said_of_all_parts_at_once(folder: Path, collect: Callable[[], tuple[int, str]]) -> None:
    parts = folder / "parts"
    _remove(parts)
    (parts / "07.json").unlink()
    code, said = collect()
    assert code == 2
    assert [line.split(": ")[1] for line in said.splitlines()] == ["partition 03", "partition 07"]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("features_part", *DATA, "--part", "99"), "partition 99: there is no such partition; choose one of: 00, "),
        (("features_part", *DATA, "--part", "../00"), "partition ../00: there is no such partition"),
        (("features", *DATA, "--part", "03"), "--part 03: features does not make single partitions; leave it out"),
        (("features_part", "experiment=snp_deep", "--part", "03"), "dataset=indices: has one partition; "),
    ],
)
def test_what_is_no_partition_is_refused(
    made: Path, folder: Path, tapeline: Tapeline, words: tuple[str, ...], wrong: str
) -> None:
    out = "table_parts=parts" if words[0] == "features_part" else "table=table"
    code, _, said = tapeline("step", *words, "--in", f"raw={made / 'raw'}", "--out", out)
    assert code == 2
    assert wrong in said
    assert not (folder / "parts").exists()


def test_a_table_of_parts_is_a_folder(made: Path, folder: Path, tapeline: Tapeline) -> None:
    given = ("--in", f"raw={made / 'raw'}", "--in", f"table_parts={made / 'parts'}")
    code, _, said = tapeline("step", "features", *DATA, *given, "--out", "table=table.parquet")
    assert (code, "a table of several parts is a folder; name it without .parquet" in said) == (2, True)
    assert not (folder / "table.parquet").exists()
