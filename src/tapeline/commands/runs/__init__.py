"""Past runs: the verb runs.

    tapeline runs                       lists them, the newest first
    tapeline runs compare=a,b           what differs between them, in the terminal and as a page
    tapeline runs repeat=a seed=7       one once more from its config.yaml, with overrides on top
    tapeline runs keep=10 yes=true      removes the others

A run is named by its folder, by any part of that name which no other has, or by `latest`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tapeline.errors import refuse
from tapeline.lookup import configure as compose

DO = {
    "compare": ("compare",),
    "repeat": ("repeat",),
    "remove": ("remove", "yes"),
    "keep or older": ("keep", "older", "yes"),
}
"""What there is to do beside listing, and the own keys that it takes."""


def run(overrides: Sequence[str], own: Mapping[str, str]) -> None:
    """Do what the own keys say, on the runs in `target.runs`.

    Args:
        overrides: say where the runs lie; for a repetition also what shall be other than before.
        own: compare, repeat, remove, keep, older, yes.

    Raises:
        Refused: keys that do not go together, or what is wrong with their values.
    """
    from tapeline.commands.runs import compare_page as comparing
    from tapeline.commands.runs import list as listing
    from tapeline.commands.runs import remove as removal
    from tapeline.commands.runs import repeat as repeating
    from tapeline.config.overrides import parse
    from tapeline.pipeline import run_folder as past

    _check_together(own)
    of_target = [each.text for each in parse(overrides) if each.section == "target"]
    target = compose(of_target if "repeat" in own else overrides).target
    folder = Path(target.runs)
    if "compare" in own:
        comparing.show(past.named(own["compare"], folder, "compare"), folder)
    elif "repeat" in own:
        repeating.repeat(past.one(own["repeat"], folder, "repeat"), overrides, target)
    elif own:
        removal.remove(own, target)
    else:
        listing.show(folder)


def _check_together(own: Mapping[str, str]) -> None:
    if own and not any(set(own) <= set(keys) and own.keys() - {"yes"} for keys in DO.values()):
        raise refuse(" ".join(own), "say no one thing to do", f"give one of: {', '.join(DO)}; yes=true only removes")
