"""The parts of an override's text."""

from __future__ import annotations

import pytest

from tapeline.config.overrides import key_of, parse, section_of
from tapeline.errors import Refused

TEXTS = {
    "model.steps=500": ("model", "model.steps", "500", "model.steps=500", "++model.steps=500"),
    "+model.note='a=b'": ("model", "model.note", "'a=b'", "model.note='a=b'", "++model.note='a=b'"),
    "++seed=7": ("seed", "seed", "7", "seed=7", "++seed=7"),
    "hydra/launcher=basic": ("hydra", "hydra.launcher", "basic", "hydra/launcher=basic", "++hydra/launcher=basic"),
    "~model.decay": ("model", "model.decay", "", "model.decay", "~model.decay"),
}
"""Section, key, text of the value, assignment, and the text that Hydra takes for any key."""


@pytest.mark.parametrize("text", TEXTS)
def test_an_override_knows_its_parts(text: str) -> None:
    (found,) = parse([text])
    assert (found.section, key_of(text), found.value_text, found.assignment, found.forced) == TEXTS[text]
    assert section_of(text) == found.section
    assert key_of("experiment@package=x") == "experiment"


def test_a_text_that_hydra_cannot_read_is_shown_with_quotes() -> None:
    with pytest.raises(Refused) as refused:
        parse(["dataset.path=a{b", "seed=1"])
    assert "dataset.path='\"...\"'" in refused.value.findings[0].fix
