"""Past runs: listed, compared, repeated or removed.

    tapeline runs                       lists them, the newest first
    tapeline runs compare=a,b           what differs between them, in the terminal and as a page
    tapeline runs repeat=a seed=7       one once more from its config.yaml, with overrides on top
    tapeline runs predictions=latest    the predictions of its test rows as CSV
    tapeline runs keep=10 yes=true      removes the others

A run is named by its folder, by any part of that name which no other has, or by `latest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tapeline.commands import Option
from tapeline.errors import refuse

GROUP = "sweep and compare"
HELP = "list past runs, compare some, repeat one, get predictions, or remove some"
OPTIONS = (
    Option("query", "TEXT", "list only runs that fit, as in query='model.family=flat accuracy>0.6 snp'"),
    Option("compare", "RUN,RUN", "print and draw what differs between two or more runs, and how surely"),
    Option("repeat", "RUN", "run one again from its config.yaml, with overrides on top; it publishes nothing"),
    Option("predictions", "RUN,RUN", "write predictions.csv, with a line for each test row, into these run folders"),
    Option("remove", "RUN,RUN", "remove these runs, and what only they have in the cache"),
    Option("keep", "N", "remove all but the newest N runs"),
    Option("older", "AGE", "remove runs older than this, as in older=30d; m, h, d and w are units"),
    Option(
        "yes", "true|false", "really remove; without it remove, keep and older only print what they would do", "false"
    ),
)
EXAMPLES = (
    ("tapeline runs", "lists all runs, the newest first; a run is named by its folder, a part of that, or latest"),
    ("tapeline runs compare=snp_flat,latest", "compares two runs in the terminal and as a page with curves"),
    ("tapeline runs query='model.family=flat accuracy>0.6'", "lists the runs with this family and a better accuracy"),
    ("tapeline runs predictions=latest", "writes runs/<its name>/predictions.csv"),
    ("tapeline runs repeat=latest seed=7", "runs the latest again with another seed, and prints what changed"),
    ("tapeline runs keep=10 older=30d yes=true", "removes runs that are neither new nor among the last ten"),
)
DO = {
    "query": ("query",),
    "compare": ("compare",),
    "predictions": ("predictions",),
    "repeat": ("repeat",),
    "remove": ("remove", "yes"),
    "keep or older": ("keep", "older", "yes"),
}
"""The actions beside listing, and the options of each."""


def run(overrides: list[str], options: dict[str, str]) -> None:
    """Do what the options say, on the runs in `target.runs`.

    Raises:
        Refused: options that do not go together, or what is wrong with their values.
    """
    from tapeline.commands.runs import compare_page, predictions, remove, repeat
    from tapeline.commands.runs import list as listing
    from tapeline.config.overrides import parse
    from tapeline.lookup import configure
    from tapeline.pipeline import run_folder

    _check_together(options)
    folders = [each.text for each in parse(overrides) if each.section == "target"]
    target = configure(folders if "repeat" in options else overrides).target
    folder = Path(target.runs)
    if "repeat" not in options and (unread := [text for text in overrides if text not in folders]):
        raise refuse(unread[0], "runs does not read it without repeat", "leave it out, or give repeat=RUN")
    if "compare" in options:
        compare_page.show(run_folder.named(options["compare"], folder, "compare"), folder)
    elif "repeat" in options:
        repeat.repeat(run_folder.one(options["repeat"], folder, "repeat"), overrides, target)
    elif "predictions" in options:
        predictions.write(run_folder.named(options["predictions"], folder, "predictions"))
    elif options and "query" not in options:
        remove.remove(options, target)
    else:
        listing.show(folder, options.get("query", ""))


def _check_together(options: Mapping[str, str]) -> None:
    if options and not any(set(options) <= set(keys) and options.keys() - {"yes"} for keys in DO.values()):
        fix = f"give one of: {', '.join(DO)}; yes=true goes with those that remove"
        raise refuse(" ".join(options), "do not say which one action to take", fix)
