from __future__ import annotations

import inspect

import pytest

from tapeline import lookup
from tapeline.pipeline.graph import PIPELINE, Step, step, view


@pytest.mark.parametrize("each", PIPELINE, ids=lambda each: each.name)
def test_a_program_takes_what_its_declaration_says(each: Step) -> None:
    parameters = list(inspect.signature(each.program()).parameters)
    store = ["store"] if each.store != "none" else []
    assert sorted(parameters) == sorted(["config", *each.takes, *(made.name for made in each.makes), *store])
    assert hasattr(each.module(), "seen") == (each.world == "watched")


@pytest.mark.parametrize("each", PIPELINE, ids=lambda each: each.name)
def test_what_a_step_reads_is_in_the_configuration(each: Step) -> None:
    view(lookup.configure([]), each.reads)


def test_every_artifact_is_made_once_and_before_it_is_taken() -> None:
    made: list[str] = []
    for each in PIPELINE:
        assert set(each.takes) <= set(made), each.name
        made += [artifact.name for artifact in each.makes]
    assert len(made) == len(set(made))


def test_nothing_reads_what_a_step_makes_that_may_be_skipped() -> None:
    conditional = [each for each in PIPELINE if each.when]
    assert [each.name for each in conditional] == ["publish"]
    optional = {artifact.name for each in conditional for artifact in each.makes}
    assert not [each.name for each in PIPELINE if optional & set(each.takes)]
    assert all(each.when in step("gate").parameters for each in conditional)


def test_only_gate_and_publish_see_the_store() -> None:
    assert {each.name: each.store for each in PIPELINE if each.store != "none"} == {"gate": "read", "publish": "write"}
