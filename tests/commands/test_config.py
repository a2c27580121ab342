"""Keys explained, completed and drawn."""

from __future__ import annotations

import re
import shutil
import subprocess
from xml.etree import ElementTree

import pytest

from tapeline.commands.config import keys
from tapeline.lookup import configure
from tapeline.pipeline.graph import STEPS, pipeline
from tests.conftest import ROOT, Tapeline

SVG = "{http://www.w3.org/2000/svg}"


def test_every_key_of_every_group_has_its_type(tapeline: Tapeline) -> None:
    for group in keys.groups():
        code, out, err = tapeline("config", f"group={group}")
        assert (code, err) == (0, "")
        assert [line for line in out.splitlines() if line.startswith(f"{group}=")] == [
            f"{group}={name}" for name in sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))
        ]
    missing = [
        f"{group}={choice.name}: {key.name}"
        for group in ("dataset", "gate", "model", "serving", "split", "hw", "track")
        for choice in keys.choices(group)
        for key in choice.keys
        if not key.kind and "." not in key.name and choice.name != "none"
    ]
    assert missing == []


def test_ranges_and_choices_follow_the_schema(tapeline: Tapeline) -> None:
    out = tapeline("config", "group=serving")[1]
    assert "serving.engine=tapeline  (one of tapeline, tfserving)" in out
    assert "serving.rest_port=8501  (whole number from 0 to 65535)" in out
    assert "number of latest versions that stay in the store" in out
    assert "gate.confidence=null  (number above 0 below 1, or null)" in tapeline("config", "group=gate")[1]
    code, _, err = tapeline("config", "group=datset")
    assert (code, "did you mean dataset?" in err) == (2, True)


def test_the_graph_has_every_step_and_artifact(tapeline: Tapeline) -> None:
    code, out, _ = tapeline("config", "graph=true")
    assert (code, out.splitlines()[0]) == (0, "flowchart TD")
    present = {step for step in STEPS if f'{step.name}["{step.name}"]' in out}
    assert {step.name for step in STEPS if step.only_with is None} <= {step.name for step in present}
    for step in present:
        for name in step.needs:
            assert any(f"| {step.name}" in line and name in line for line in out.splitlines()), (step.name, name)
    assert 'gate -.->|"if accepted"| publish' in out


@pytest.mark.parametrize("overrides", [[], ["model=lightgbm", "tune=optuna"]], ids=["default", "search"])
def test_the_picture_of_the_graph_connects_makers_and_takers(tapeline: Tapeline, overrides: list[str]) -> None:
    code, out, err = tapeline("config", "graph=svg", *overrides)
    assert (code, err) == (0, "")
    drawn = ElementTree.fromstring(out)
    steps = pipeline(configure(overrides))
    places = {(each.get("x"), each.get("y")): each.text for each in drawn.iter(f"{SVG}text")}
    assert set(places.values()) == {
        *(step.name for step in steps),
        *(made.name for step in steps for made in step.makes),
        "if accepted",
    }
    dots = [(int(each.attrib["cx"]), int(each.attrib["cy"]), each.get("r")) for each in drawn.iter(f"{SVG}circle")]
    lines = [re.fullmatch(r"M(\d+) (\d+) V(\d+)", each.attrib["d"]) for each in drawn.iter(f"{SVG}path")]
    ends = [tuple(map(int, found.groups())) for found in lines if found]
    taken = [dot for dot in dots if dot[2] == "3"]
    assert len(taken) == sum(len(step.inputs) for step in steps)
    for x, y, _ in taken:  # on the line of one artifact
        assert len([end for end in ends if end[0] == x and end[1] < y <= end[2]]) == 1
    for x, top, bottom in ends:  # from the dot of its maker to that of its last taker
        assert (x, top, "4") in dots
        assert (x, bottom, "3") in dots


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not here")
@pytest.mark.parametrize(
    ("line", "expected"),
    {
        "a command": ("tapeline ru", ["run", "runs"]),
        "a group": ("make run spl", ["split="]),
        "an option": ("make run model=", ["deep", "flat", "lightgbm"]),
        "a key": ("tapeline run gate.thr", ["gate.threshold="]),
        "an option of the command": ("make runs pred", ["predictions="]),
    }.values(),
)
def test_bash_completes(tapeline: Tapeline, line: str, expected: list[str]) -> None:
    script = tapeline("completion")[1]
    asks = (
        f"{script}\nCOMP_LINE={line!r} COMP_POINT={len(line)}\n"
        "COMP_WORDS=($COMP_LINE) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_tapeline\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", asks], capture_output=True, text=True, check=True)
    found = done.stdout.split()
    assert set(expected) <= set(found)
    assert all(each.startswith(line.split()[-1].rpartition("=")[2]) for each in found)
