"""The documentation: its links, its names of commands and keys, and (make test-docs) every command that it shows."""

from __future__ import annotations

import gzip
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from tapeline import files
from tapeline.cli import commands
from tapeline.datasets.bitcoin.simulation import simulate as candles
from tapeline.datasets.indices.simulation import simulate
from tapeline.lookup import configure
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MADE = ("docs/reference/commands.md", "docs/reference/configuration.md", "docs/glossary.md", "docs/changelog.md")
"""Pages that `make docs` makes."""
FENCE = re.compile(r"^```sh ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
KINDS = {
    "": "run as it stands",
    "serve": "started in the background until the page ends",
    "norun": "needs data, a server, an account or many minutes of the reader's",
    "cluster": "needs a cluster",
    "develop": "a goal of make for development",
}
"""What stands behind ```sh; the words of all lines are checked."""


@dataclass(frozen=True)
class Block:
    """Lines of a page for a shell."""

    page: Path
    kind: str
    lines: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return [
        Block(page, kind, tuple(line for line in body.splitlines() if line.strip() and not line.startswith("#")))
        for kind, body in FENCE.findall(text)
    ]


def label(block: Block) -> str:
    return f"{block.page.stem}: {block.lines[0][:60]}"


OURS = [page for page in PAGES if str(page.relative_to(ROOT)) not in MADE]
BLOCKS = [block for page in OURS for block in blocks(page)]


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_every_block_says_how_it_is_tested() -> None:
    assert {block.kind for block in BLOCKS} == set(KINDS)


@pytest.mark.parametrize("page", OURS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if "://" in link or str(target.relative_to(ROOT)) in MADE:
            continue
        heads = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if target.suffix == ".md" else []
        names = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
        broken += [link] if not target.exists() or (anchor and anchor not in names) else []
    assert broken == []


def words_of(line: str) -> list[str]:
    """A line's words up to a comment, without what it does before and after our command."""
    return shlex.split(line, comments=True)


@pytest.mark.parametrize("block", BLOCKS, ids=label)
def test_each_command_line_can_be_understood(block: Block) -> None:
    """Commands, options and keys exist, and values validate; nothing is started."""
    goals = re.search(r"^OWN := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert goals is not None
    for line in block.lines:
        program, *rest = words_of(line)
        if program not in ("make", "tapeline", ".venv/bin/tapeline") or not rest:
            continue
        name, *words = rest
        if name in goals[1].split():
            continue
        command = commands.load(name)
        overrides, _ = commands.split(name, command, words)
        if name not in ("sweep", "step", "store"):
            configure(overrides)


def test_each_page_is_in_a_table_of_contents() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    listed = {name for block in re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL) for name in block.split("\n")}
    names = {
        str(page.relative_to(ROOT / "docs").with_suffix("")) for page in PAGES if page.is_relative_to(ROOT / "docs")
    }
    assert names - {"index"} <= listed
    assert {str(Path(name).relative_to("docs").with_suffix("")) for name in MADE} <= listed


# What follows runs commands: make test-docs.

TAPELINE = "import sys\nfrom tapeline.cli.main import main\nif __name__ == '__main__':\n    sys.exit(main())\n"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's files, with an environment whose command is the one under test, and the reader's CSV file."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("LICENSE", "Makefile", "README.md", "pyproject.toml", "conf", "deploy", "src", "workflows"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / ".venv" / "bin").mkdir(parents=True)
    for lock in ROOT.glob("requirements*.lock"):
        shutil.copy(lock, folder)
    for stamp in (".steps", ".clusters", ".dev"):
        (folder / ".venv" / stamp).touch()
    binary = folder / ".venv" / "bin" / "tapeline"
    binary.write_text(f"#!{sys.executable}\n{TAPELINE}")
    binary.chmod(0o755)
    _write_readers_files(folder)
    return folder


def _write_readers_files(folder: Path) -> None:
    """The files that the pages name as the reader's own."""
    closes = simulate(0)
    closes.write_csv(folder / "closes.csv")
    closes.drop("nikkei").write_csv(folder / "others.csv")
    nikkei = closes.select("date", close="nikkei").drop_nulls().write_csv()
    (folder / "n225.csv.gz").write_bytes(gzip.compress(nikkei.encode()))
    candles(0).write_csv(folder / "crypto-markets.csv")


def shell(checkout: Path, line: str, errors: Path | None = None) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    stderr = errors.open("wb") if errors else None
    return subprocess.Popen(
        ["/bin/sh", "-c", line], cwd=checkout, env=environment, start_new_session=True, stderr=stderr
    )


@pytest.mark.docs
@pytest.mark.parametrize("page", [page for page in OURS if blocks(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_runs(page: Path, checkout: Path, tmp_path: Path) -> None:
    background: list[subprocess.Popen[bytes]] = []
    for name in ("runs", "store", "sweeps"):  # the cache stays, so that a page does not compute what another did
        shutil.rmtree(checkout / name, ignore_errors=True)
    try:
        for block in blocks(page):
            for line in block.lines:
                if block.kind == "serve":
                    background.append(shell(checkout, line, tmp_path / "errors.txt"))
                    wait_for_server()
                elif block.kind == "":
                    done = shell(checkout, line)
                    assert done.wait(900) == 0, f"{page.name}: {line}"
    finally:
        for process in background:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(300)
    for path in tmp_path.glob("errors.txt"):
        lines = path.read_text().splitlines()
        assert [line for line in lines if not line.startswith(("make: ***", "tapeline: "))] == [], "foreign lines"


@pytest.mark.docs
@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind not in ("", "serve")], ids=label)
def test_a_command_that_is_not_executed_is_listed(block: Block) -> None:
    pytest.skip(f"{block.page.relative_to(ROOT)}: {KINDS[block.kind]}: {'; '.join(block.lines)}")


def wait_for_server() -> None:
    deadline = time.monotonic() + 600  # a busy machine takes minutes to load a model
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen("http://127.0.0.1:8501/v1/models/indices-simulated", timeout=5)
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError("the server of a page did not start")


@pytest.mark.docs
def test_the_readmes_transcript_is_what_make_run_prints(checkout: Path) -> None:
    shown = re.search(r"```\n(tapeline [\d.]+:.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    done = subprocess.run(
        ["make", "run"], cwd=checkout, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(checkout / "src")},
    )  # fmt: skip
    decision = [line for line in shown[1].splitlines() if line.startswith(("accepted", "rejected"))]
    assert len(decision) == 1
    assert decision[0] in done.stdout.splitlines()


NEWCOMER = {
    "guide/data.html": ["csv", "my csv", "own data"],
    "guide/report.html#why-was-my-model-rejected": ["rejected", "why rejected"],
    "guide/runs.html#compare-two-runs": ["compare", "compare runs"],
    "guide/data.html#what-as-of-means": ["as_of", "as_of meaning"],
    "guide/extending.html#a-market-or-a-dataset": ["market", "add market"],
    "guide/serving.html": ["serve", "predict"],
    "guide/serving.html#versions-and-rollback": ["rollback", "roll back"],
    "guide/runs.html#sweeps": ["sweep", "compare models"],
    "guide/runs.html#predictions-as-csv": ["predictions csv", "export predictions"],
    "guide/clusters.html": ["cluster", "kubernetes"],
}
"""Ten tasks of a newcomer, as in docs/tasks.md: the place that answers, and what may be typed into the search."""
SEARCH = """
const fs = require("fs"), vm = require("vm"), [site, ...queries] = process.argv.slice(1);
globalThis.window = globalThis;
globalThis.document = {getElementById: () => null, addEventListener: () => {}};
globalThis.SPHINX_HIGHLIGHT_ENABLED = false;
globalThis.DOCUMENTATION_OPTIONS = {};
globalThis._ready = () => {};
const names = ["base-stemmer", "english-stemmer", "language_data", "searchtools"].map(name => `_static/${name}.js`);
const read = name => fs.readFileSync(`${site}/${name}`, "utf8");
vm.runInThisContext([...names, "searchindex.js"].map(read).join("\\n") + "\\nglobalThis.Search = Search;");
for (const query of queries) {
  const found = Search._performSearch(...Search._parseQuery(query));
  const best = found[found.length - 1];
  console.log(best ? best[0] + ".html" + best[2] : "nothing");
}
"""
"""Sphinx's own search in its own JavaScript: the first hit of each query."""


@pytest.mark.docs
def test_the_first_hit_of_a_search_answers_a_newcomer() -> None:
    from playwright._impl._driver import compute_driver_executable

    site = ROOT / "docs" / "_build" / "html"
    if not site.is_dir():
        pytest.skip("make docs has not been run")
    queries = [query for words in NEWCOMER.values() for query in words]
    node = compute_driver_executable()[0]
    done = subprocess.run([node, "-e", SEARCH, str(site), *queries], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    hits = dict(zip(queries, done.stdout.splitlines(), strict=True))
    assert {query: (site / hit.partition("#")[0]).is_file() for query, hit in hits.items()} == dict.fromkeys(
        queries, True
    )
    wrong = {
        query: hits[query]
        for place, words in NEWCOMER.items()
        for query in words
        if not leads(site, hits[query], place)
    }
    assert wrong == {}


def leads(site: Path, hit: str, place: str) -> bool:
    """Whether a hit is in the section of a place: its page, and behind the anchor but before the next heading."""
    page, _, anchor = hit.partition("#")
    wanted, _, section = place.partition("#")
    if page != wanted or not section or anchor == section:
        return page == wanted
    text = (site / page).read_text()
    start = text.index(f'<section id="{section}"')
    return f'id="{anchor}"' in text[start : text.index("</section>", start)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as pip installs it from a wheel, in a folder of its own."""
    python = ROOT / ".venv-docs" / "bin" / "python"
    if not python.exists():
        pytest.skip("make docs makes .venv-docs, which builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        str(python),
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(build, check=True)
    (made,) = folder.glob("*.whl")
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "site"), str(made)]
    subprocess.run(install, check=True)
    return folder / "site"


@pytest.mark.docs
def test_the_wheel_runs_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    line = [sys.executable, "-P", "-m", "tapeline", "run", "model=flat", "debug=true"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    metrics = files.read_json(tmp_path / "runs" / "latest" / "metrics.json")
    assert metrics["ran"]["experiment"] == "debug"
    assert not (wheel / "tapeline" / "conf" / "local").exists()
